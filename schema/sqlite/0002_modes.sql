-- Maintenance: nothing is placed on the host and its servers are to leave. Overcommit: how much of it may be promised.
ALTER TABLE hosts ADD COLUMN maintenance INTEGER NOT NULL DEFAULT 0 CHECK (maintenance IN (0, 1));
ALTER TABLE hosts ADD COLUMN vcpus_overcommit REAL NOT NULL DEFAULT 8 CHECK (vcpus_overcommit > 0);
ALTER TABLE hosts ADD COLUMN memory_overcommit REAL NOT NULL DEFAULT 1 CHECK (memory_overcommit > 0);

-- The guest is there and stands still by somebody's order.
ALTER TABLE servers ADD COLUMN paused INTEGER NOT NULL DEFAULT 0 CHECK (paused IN (0, 1));

-- Servers that must not share a host, or must.
CREATE TABLE server_groups (
    id TEXT PRIMARY KEY NOT NULL,
    name TEXT NOT NULL UNIQUE,
    policy TEXT NOT NULL CHECK (policy IN ('apart', 'together')),
    created_at INTEGER NOT NULL
) STRICT;

CREATE TABLE server_group_members (
    group_id TEXT NOT NULL REFERENCES server_groups (id) ON DELETE CASCADE,
    server_id TEXT NOT NULL REFERENCES servers (id) ON DELETE CASCADE,
    PRIMARY KEY (group_id, server_id)
) STRICT;

CREATE INDEX server_group_members_by_server ON server_group_members (server_id);

-- The completion deadline of the attempt under way, on the store's clock; and what the server was when the migration was accepted.
ALTER TABLE migrations ADD COLUMN deadline_at INTEGER;
ALTER TABLE migrations ADD COLUMN status_before TEXT;

-- How many migrations a host may carry at once.
ALTER TABLE hosts ADD COLUMN inbound_slots INTEGER NOT NULL DEFAULT 2 CHECK (inbound_slots >= 0);
ALTER TABLE hosts ADD COLUMN outbound_slots INTEGER NOT NULL DEFAULT 2 CHECK (outbound_slots >= 0);

-- What the disks of servers may grow to, by storage; out of the descriptions, for the sums of what is promised.
CREATE TABLE server_disks (
    server_id TEXT NOT NULL REFERENCES servers (id) ON DELETE CASCADE,
    storage TEXT NOT NULL,
    bytes INTEGER NOT NULL,
    PRIMARY KEY (server_id, storage)
) STRICT;

INSERT INTO server_disks (server_id, storage, bytes)
SELECT s.id, json_extract(d.value, '$.storage'), SUM(json_extract(d.value, '$.sizeBytes'))
FROM servers s, json_each(s.description, '$.disks') d GROUP BY 1, 2;

CREATE TRIGGER servers_disks_begun AFTER INSERT ON servers
BEGIN
    INSERT INTO server_disks (server_id, storage, bytes)
    SELECT NEW.id, json_extract(d.value, '$.storage'), SUM(json_extract(d.value, '$.sizeBytes'))
    FROM json_each(NEW.description, '$.disks') d GROUP BY 2;
END;

CREATE TRIGGER servers_disks_changed AFTER UPDATE OF description ON servers
BEGIN
    DELETE FROM server_disks WHERE server_id = NEW.id;
    INSERT INTO server_disks (server_id, storage, bytes)
    SELECT NEW.id, json_extract(d.value, '$.storage'), SUM(json_extract(d.value, '$.sizeBytes'))
    FROM json_each(NEW.description, '$.disks') d GROUP BY 2;
END;
