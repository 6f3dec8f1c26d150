-- Maintenance: nothing is placed on the host and its servers are to leave. Overcommit: how much of it may be promised.
ALTER TABLE hosts ADD COLUMN maintenance SMALLINT NOT NULL DEFAULT 0 CHECK (maintenance IN (0, 1));
ALTER TABLE hosts ADD COLUMN vcpus_overcommit DOUBLE PRECISION NOT NULL DEFAULT 8 CHECK (vcpus_overcommit > 0);
ALTER TABLE hosts ADD COLUMN memory_overcommit DOUBLE PRECISION NOT NULL DEFAULT 1 CHECK (memory_overcommit > 0);

-- The guest is there and stands still by somebody's order.
ALTER TABLE servers ADD COLUMN paused SMALLINT NOT NULL DEFAULT 0 CHECK (paused IN (0, 1));

-- Servers that must not share a host, or must.
CREATE TABLE server_groups (
    id TEXT COLLATE "C" PRIMARY KEY,
    name TEXT COLLATE "C" NOT NULL UNIQUE,
    policy TEXT NOT NULL CHECK (policy IN ('apart', 'together')),
    created_at BIGINT NOT NULL
);

CREATE TABLE server_group_members (
    group_id TEXT COLLATE "C" NOT NULL REFERENCES server_groups (id) ON DELETE CASCADE,
    server_id TEXT COLLATE "C" NOT NULL REFERENCES servers (id) ON DELETE CASCADE,
    PRIMARY KEY (group_id, server_id)
);

CREATE INDEX server_group_members_by_server ON server_group_members (server_id);

-- The completion deadline of the attempt under way, on the store's clock; and what the server was when the migration was accepted.
ALTER TABLE migrations ADD COLUMN deadline_at BIGINT;
ALTER TABLE migrations ADD COLUMN status_before TEXT;

-- How many migrations a host may carry at once.
ALTER TABLE hosts ADD COLUMN inbound_slots BIGINT NOT NULL DEFAULT 2 CHECK (inbound_slots >= 0);
ALTER TABLE hosts ADD COLUMN outbound_slots BIGINT NOT NULL DEFAULT 2 CHECK (outbound_slots >= 0);

-- What the disks of servers may grow to, by storage; out of the descriptions, for the sums of what is promised.
CREATE TABLE server_disks (
    server_id TEXT COLLATE "C" NOT NULL REFERENCES servers (id) ON DELETE CASCADE,
    storage TEXT COLLATE "C" NOT NULL,
    bytes BIGINT NOT NULL,
    PRIMARY KEY (server_id, storage)
);

INSERT INTO server_disks (server_id, storage, bytes)
SELECT s.id, d ->> 'storage', SUM(CAST(d ->> 'sizeBytes' AS BIGINT))
FROM servers s, json_array_elements(s.description::json -> 'disks') d GROUP BY 1, 2;

CREATE FUNCTION servers_disks() RETURNS TRIGGER LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'UPDATE' THEN
        DELETE FROM server_disks WHERE server_id = NEW.id;
    END IF;
    INSERT INTO server_disks (server_id, storage, bytes)
    SELECT NEW.id, d ->> 'storage', SUM(CAST(d ->> 'sizeBytes' AS BIGINT))
    FROM json_array_elements(NEW.description::json -> 'disks') d GROUP BY 2;
    RETURN NULL;
END $$;

CREATE TRIGGER servers_disks_begun AFTER INSERT ON servers
FOR EACH ROW EXECUTE FUNCTION servers_disks();

CREATE TRIGGER servers_disks_changed AFTER UPDATE OF description ON servers
FOR EACH ROW WHEN (NEW.description IS DISTINCT FROM OLD.description) EXECUTE FUNCTION servers_disks();
