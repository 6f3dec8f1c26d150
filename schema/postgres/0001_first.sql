-- Names and identities are compared and sorted by their bytes (COLLATE "C"), as SQLite does, whatever the database's language.

-- Which steps of this schema the database has been brought through.
CREATE TABLE schema_versions (
    number BIGINT PRIMARY KEY,
    name TEXT NOT NULL,
    applied_at BIGINT NOT NULL
);

-- Refuses a row for a rule, by the rule's name.
CREATE FUNCTION breach(rule TEXT) RETURNS VOID LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '%', rule USING ERRCODE = 'integrity_constraint_violation', CONSTRAINT = rule;
END $$;

-- The same as a trigger, for rules whose condition stands with the trigger.
CREATE FUNCTION breach_of() RETURNS TRIGGER LANGUAGE plpgsql AS $$
BEGIN
    PERFORM breach(TG_ARGV[0]);
    RETURN NULL;
END $$;

-- Whoever promises anything of a host or a storage does so alone until the transaction's end: what it adds up cannot change meanwhile.
CREATE FUNCTION placement_lock() RETURNS VOID LANGUAGE sql AS $$
    SELECT pg_advisory_xact_lock(1198482551, hashtext(current_schema() || '.placement'))
$$;

-- Hosts, with what their agents told last. All times are milliseconds since 1970 on the store's clock.
-- The capacities are what may be promised (overcommit included); null until the agent first answered, and then nothing may be.
CREATE TABLE hosts (
    id TEXT COLLATE "C" PRIMARY KEY,
    name TEXT COLLATE "C" NOT NULL UNIQUE,
    agent_url TEXT NOT NULL,
    enabled SMALLINT NOT NULL CHECK (enabled IN (0, 1)),
    healthy_until BIGINT NOT NULL,
    vcpus_capacity BIGINT,
    memory_capacity BIGINT,
    facts TEXT CHECK (facts IS NULL OR facts::json IS NOT NULL),
    created_at BIGINT NOT NULL,
    CONSTRAINT hosts_capacity_with_facts CHECK (
        (facts IS NULL) = (vcpus_capacity IS NULL) AND (facts IS NULL) = (memory_capacity IS NULL)
    )
) WITH (fillfactor = 50);

-- Taken out of the facts, since reservations are checked against them. Bytes.
CREATE TABLE storages (
    host_id TEXT COLLATE "C" NOT NULL REFERENCES hosts (id) ON DELETE CASCADE,
    name TEXT COLLATE "C" NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('local', 'shared')),
    capacity BIGINT NOT NULL,
    free BIGINT NOT NULL,
    PRIMARY KEY (host_id, name)
) WITH (fillfactor = 50);

CREATE TABLE networks (
    host_id TEXT COLLATE "C" NOT NULL REFERENCES hosts (id) ON DELETE CASCADE,
    name TEXT COLLATE "C" NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('bridge', 'user')),
    PRIMARY KEY (host_id, name)
);

-- Servers and where they are. vcpus and memory repeat the description's, for the sums that rule out overbooking.
-- Whoever deploys, starts, stops or deletes one holds it until operation_until.
CREATE TABLE servers (
    id TEXT COLLATE "C" PRIMARY KEY,
    name TEXT COLLATE "C" NOT NULL UNIQUE,
    status TEXT NOT NULL CHECK (
        status IN ('deploying', 'ready', 'starting', 'running', 'stopping', 'deleting', 'start_migrate', 'migrating', 'live_migrating')
    ),
    host_id TEXT COLLATE "C" NOT NULL REFERENCES hosts (id),
    epoch BIGINT NOT NULL CHECK (epoch >= 1),
    vcpus BIGINT NOT NULL CHECK (vcpus > 0),
    memory BIGINT NOT NULL CHECK (memory > 0),
    description TEXT NOT NULL CHECK (description::json IS NOT NULL),
    note_code TEXT,
    note_message TEXT,
    operation_owner TEXT,
    operation_until BIGINT,
    created_at BIGINT NOT NULL,
    CONSTRAINT servers_operation_held CHECK (
        (status IN ('deploying', 'starting', 'stopping', 'deleting')) = (operation_owner IS NOT NULL)
        AND (operation_owner IS NULL) = (operation_until IS NULL)
    ),
    CONSTRAINT servers_note_whole CHECK ((note_code IS NULL) = (note_message IS NULL))
) WITH (fillfactor = 70);

-- With what is summed up, so that the sums read nothing else.
CREATE INDEX servers_by_host ON servers (host_id, vcpus, memory);
CREATE INDEX servers_operations ON servers (operation_until) WHERE operation_owner IS NOT NULL;

-- Migrations. No foreign key leads to the server: its row may go, what happened to it stays.
CREATE TABLE migrations (
    id TEXT COLLATE "C" PRIMARY KEY,
    server_id TEXT COLLATE "C" NOT NULL,
    mode TEXT NOT NULL CHECK (mode IN ('cold', 'live', 'rescue')),
    options TEXT NOT NULL CHECK (options::json IS NOT NULL),
    state TEXT NOT NULL CHECK (
        state IN ('pending', 'scheduling', 'syncing-disk', 'syncing-memory', 'switching', 'ready', 'failed')
    ),
    direction TEXT NOT NULL CHECK (direction IN ('forward', 'rollback')),
    priority BIGINT NOT NULL DEFAULT 0,
    epoch BIGINT NOT NULL CHECK (epoch >= 1),
    attempt BIGINT NOT NULL CHECK (attempt >= 0),
    max_attempts BIGINT NOT NULL CHECK (max_attempts >= 1),
    source_id TEXT COLLATE "C" NOT NULL REFERENCES hosts (id),
    target_id TEXT COLLATE "C" REFERENCES hosts (id),
    excluded TEXT NOT NULL CHECK (excluded::json IS NOT NULL),
    reason_code TEXT,
    reason_message TEXT,
    -- What another try could change about the reason, for whoever ends the rollback.
    remedy TEXT CHECK (remedy IS NULL OR remedy IN ('same-target', 'other-target', 'none')),
    cancel_requested SMALLINT NOT NULL DEFAULT 0 CHECK (cancel_requested IN (0, 1)),
    awaiting TEXT,
    progress TEXT CHECK (progress IS NULL OR progress::json IS NOT NULL),
    blackout TEXT CHECK (blackout IS NULL OR blackout::json IS NOT NULL),
    actor TEXT NOT NULL,
    -- Free to be claimed once due; held under a lease; or finished: exactly one of the three. The queue's indexes hang on these
    -- flags and not on the state, so that a change of state leaves them alone.
    claimable SMALLINT NOT NULL CHECK (claimable IN (0, 1)),
    active SMALLINT NOT NULL CHECK (active IN (0, 1)),
    lease_owner TEXT,
    lease_until BIGINT,
    created_at BIGINT NOT NULL,
    due_at BIGINT NOT NULL,
    finished_at BIGINT,
    CONSTRAINT migrations_one_place CHECK (claimable + active + (CASE WHEN finished_at IS NULL THEN 0 ELSE 1 END) = 1),
    CONSTRAINT migrations_active_leased CHECK ((active = 1) = (lease_owner IS NOT NULL) AND (active = 1) = (lease_until IS NOT NULL)),
    CONSTRAINT migrations_finished_in_time CHECK ((state IN ('ready', 'failed')) = (finished_at IS NOT NULL)),
    CONSTRAINT migrations_target_chosen CHECK (
        target_id IS NOT NULL OR state NOT IN ('syncing-disk', 'syncing-memory', 'switching', 'ready')
    ),
    CONSTRAINT migrations_target_elsewhere CHECK (target_id <> source_id),
    CONSTRAINT migrations_attempt_counted CHECK (attempt <= max_attempts AND (attempt >= 1 OR state IN ('pending', 'failed'))),
    CONSTRAINT migrations_reason_whole CHECK ((reason_code IS NULL) = (reason_message IS NULL)),
    CONSTRAINT migrations_failure_named CHECK (reason_code IS NOT NULL OR (state <> 'failed' AND direction = 'forward'))
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.02, autovacuum_analyze_scale_factor = 0.02);

-- A server has at most one unfinished migration.
CREATE UNIQUE INDEX migrations_unfinished ON migrations (server_id) WHERE finished_at IS NULL;
-- The queue: what may be claimed, best first, and whose lease ended.
CREATE INDEX migrations_claimable ON migrations (priority DESC, due_at, id) WHERE claimable = 1;
CREATE INDEX migrations_due ON migrations (due_at) WHERE claimable = 1;
CREATE INDEX migrations_leased ON migrations (lease_until) WHERE active = 1;
-- Lists, newest first: ids begin with the time of their making.
CREATE INDEX migrations_open ON migrations (id) WHERE finished_at IS NULL;
CREATE INDEX migrations_by_server ON migrations (server_id, id);
CREATE INDEX migrations_by_source ON migrations (source_id, id);
CREATE INDEX migrations_by_target ON migrations (target_id, id);

-- The journal: the steps of each attempt.
CREATE TABLE steps (
    migration_id TEXT COLLATE "C" NOT NULL REFERENCES migrations (id) ON DELETE CASCADE,
    attempt BIGINT NOT NULL,
    step TEXT COLLATE "C" NOT NULL,
    position BIGINT NOT NULL,
    status TEXT NOT NULL CHECK (status IN ('started', 'done', 'compensated', 'deferred')),
    output TEXT,
    changed_at BIGINT NOT NULL,
    PRIMARY KEY (migration_id, attempt, step)
) WITH (fillfactor = 80);

-- The history: written once, kept for ever, and complete without any other table.
CREATE TABLE transitions (
    seq BIGINT GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY,
    migration_id TEXT COLLATE "C" NOT NULL,
    server_id TEXT COLLATE "C" NOT NULL,
    at BIGINT NOT NULL,
    from_state TEXT,
    to_state TEXT NOT NULL,
    direction TEXT NOT NULL,
    attempt BIGINT NOT NULL,
    epoch BIGINT NOT NULL,
    source_id TEXT COLLATE "C" NOT NULL,
    target_id TEXT COLLATE "C",
    actor TEXT NOT NULL,
    step TEXT,
    reason_code TEXT,
    reason_message TEXT,
    numbers TEXT NOT NULL CHECK (numbers::json IS NOT NULL)
);

CREATE INDEX transitions_by_migration ON transitions (migration_id, seq);
CREATE INDEX transitions_by_server ON transitions (server_id, at DESC, seq DESC);
CREATE INDEX transitions_by_source ON transitions (source_id, at DESC, seq DESC);
CREATE INDEX transitions_by_target ON transitions (target_id, at DESC, seq DESC);
CREATE INDEX transitions_by_time ON transitions (at DESC, seq DESC);
CREATE INDEX transitions_failures ON transitions (at, reason_code) WHERE to_state = 'failed';

CREATE TRIGGER transitions_not_updated BEFORE UPDATE ON transitions
FOR EACH ROW EXECUTE FUNCTION breach_of('transitions_append_only');

CREATE TRIGGER transitions_not_deleted BEFORE DELETE ON transitions
FOR EACH ROW EXECUTE FUNCTION breach_of('transitions_append_only');

CREATE TRIGGER transitions_not_emptied BEFORE TRUNCATE ON transitions
FOR EACH STATEMENT EXECUTE FUNCTION breach_of('transitions_append_only');

-- What unfinished migrations will need on their targets.
CREATE TABLE reservations (
    migration_id TEXT COLLATE "C" PRIMARY KEY REFERENCES migrations (id) ON DELETE CASCADE,
    host_id TEXT COLLATE "C" NOT NULL REFERENCES hosts (id),
    vcpus BIGINT NOT NULL CHECK (vcpus >= 0),
    memory BIGINT NOT NULL CHECK (memory >= 0),
    created_at BIGINT NOT NULL,
    UNIQUE (migration_id, host_id)
);

CREATE INDEX reservations_by_host ON reservations (host_id, vcpus, memory);

CREATE TABLE reserved_storages (
    migration_id TEXT COLLATE "C" NOT NULL,
    host_id TEXT COLLATE "C" NOT NULL,
    storage TEXT COLLATE "C" NOT NULL,
    bytes BIGINT NOT NULL CHECK (bytes >= 0),
    PRIMARY KEY (migration_id, storage),
    FOREIGN KEY (migration_id, host_id) REFERENCES reservations (migration_id, host_id) ON DELETE CASCADE
);

CREATE INDEX reserved_storages_by_storage ON reserved_storages (storage, host_id);

-- What must still be removed from a host; kept with done_at when it was.
CREATE TABLE cleanups (
    id TEXT COLLATE "C" PRIMARY KEY,
    kind TEXT NOT NULL CHECK (kind IN ('source', 'target')),
    migration_id TEXT COLLATE "C" NOT NULL,
    server_id TEXT COLLATE "C" NOT NULL,
    host_id TEXT COLLATE "C" NOT NULL REFERENCES hosts (id),
    attempt BIGINT NOT NULL,
    epoch BIGINT NOT NULL,
    tries BIGINT NOT NULL DEFAULT 0,
    last_error TEXT,
    lease_owner TEXT,
    -- Due from here on: put off after a failure, and while somebody is at it until the end of their lease.
    due_at BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    done_at BIGINT
);

CREATE INDEX cleanups_due ON cleanups (due_at) WHERE done_at IS NULL;

-- What is left of each host to be promised.
CREATE VIEW host_rooms AS
SELECT
    h.id AS host_id,
    CAST(COALESCE(h.vcpus_capacity, 0)
        - COALESCE((SELECT SUM(s.vcpus) FROM servers s WHERE s.host_id = h.id), 0)
        - COALESCE((SELECT SUM(r.vcpus) FROM reservations r WHERE r.host_id = h.id), 0) AS BIGINT) AS vcpus,
    CAST(COALESCE(h.memory_capacity, 0)
        - COALESCE((SELECT SUM(s.memory) FROM servers s WHERE s.host_id = h.id), 0)
        - COALESCE((SELECT SUM(r.memory) FROM reservations r WHERE r.host_id = h.id), 0) AS BIGINT) AS memory
FROM hosts h;

-- And of each storage. What is reserved on a shared one counts on every host that sees it.
CREATE VIEW storage_rooms AS
SELECT
    s.host_id AS host_id,
    s.name AS name,
    CAST(s.free - COALESCE(
        (
            SELECT SUM(r.bytes)
            FROM reserved_storages r JOIN storages o ON o.host_id = r.host_id AND o.name = r.storage
            WHERE r.storage = s.name AND (r.host_id = s.host_id OR (s.kind = 'shared' AND o.kind = 'shared'))
        ), 0) AS BIGINT) AS bytes
FROM storages s;

-- Nothing is promised twice: neither to a new server nor to a migration on its way.
CREATE FUNCTION servers_not_overbooked() RETURNS TRIGGER LANGUAGE plpgsql AS $$
BEGIN
    PERFORM placement_lock();
    IF NOT EXISTS (SELECT 1 FROM host_rooms WHERE host_id = NEW.host_id AND vcpus >= NEW.vcpus AND memory >= NEW.memory) THEN
        PERFORM breach('hosts_not_overbooked');
    END IF;
    RETURN NEW;
END $$;

CREATE TRIGGER servers_not_overbooked BEFORE INSERT ON servers
FOR EACH ROW EXECUTE FUNCTION servers_not_overbooked();

CREATE FUNCTION servers_grown_not_overbooked() RETURNS TRIGGER LANGUAGE plpgsql AS $$
BEGIN
    PERFORM placement_lock();
    IF NOT EXISTS (
        SELECT 1 FROM host_rooms
        WHERE host_id = OLD.host_id AND vcpus >= NEW.vcpus - OLD.vcpus AND memory >= NEW.memory - OLD.memory
    ) THEN
        PERFORM breach('hosts_not_overbooked');
    END IF;
    RETURN NEW;
END $$;

CREATE TRIGGER servers_grown_not_overbooked BEFORE UPDATE OF vcpus, memory ON servers
FOR EACH ROW WHEN (NEW.vcpus > OLD.vcpus OR NEW.memory > OLD.memory) EXECUTE FUNCTION servers_grown_not_overbooked();

-- A reservation is for an unfinished migration and covers its server, so that placing the server later cannot be refused.
CREATE FUNCTION reservations_checked() RETURNS TRIGGER LANGUAGE plpgsql AS $$
BEGIN
    PERFORM placement_lock();
    IF NOT EXISTS (SELECT 1 FROM host_rooms WHERE host_id = NEW.host_id AND vcpus >= NEW.vcpus AND memory >= NEW.memory) THEN
        PERFORM breach('hosts_not_overbooked');
    END IF;
    IF NOT EXISTS (
        SELECT 1 FROM migrations m JOIN servers s ON s.id = m.server_id
        WHERE m.id = NEW.migration_id AND m.finished_at IS NULL AND s.vcpus <= NEW.vcpus AND s.memory <= NEW.memory
    ) THEN
        PERFORM breach('reservations_cover_server');
    END IF;
    RETURN NEW;
END $$;

CREATE TRIGGER reservations_checked BEFORE INSERT ON reservations
FOR EACH ROW EXECUTE FUNCTION reservations_checked();

CREATE FUNCTION storages_not_overbooked() RETURNS TRIGGER LANGUAGE plpgsql AS $$
BEGIN
    PERFORM placement_lock();
    IF NOT EXISTS (SELECT 1 FROM storage_rooms WHERE host_id = NEW.host_id AND name = NEW.storage AND bytes >= NEW.bytes) THEN
        PERFORM breach('storages_not_overbooked');
    END IF;
    RETURN NEW;
END $$;

CREATE TRIGGER storages_not_overbooked BEFORE INSERT ON reserved_storages
FOR EACH ROW EXECUTE FUNCTION storages_not_overbooked();

CREATE TRIGGER reservations_not_changed BEFORE UPDATE ON reservations
FOR EACH ROW EXECUTE FUNCTION breach_of('reservations_not_changed');

CREATE TRIGGER reserved_storages_not_changed BEFORE UPDATE ON reserved_storages
FOR EACH ROW EXECUTE FUNCTION breach_of('reservations_not_changed');

-- A server moves only to where its migration holds a reservation. The guest may run there already, so that nothing else is asked.
CREATE FUNCTION servers_placed_as_reserved() RETURNS TRIGGER LANGUAGE plpgsql AS $$
BEGIN
    IF NOT EXISTS (
        SELECT 1 FROM reservations r JOIN migrations m ON m.id = r.migration_id WHERE m.server_id = OLD.id AND r.host_id = NEW.host_id
    ) THEN
        PERFORM breach('servers_placed_as_reserved');
    END IF;
    RETURN NEW;
END $$;

CREATE TRIGGER servers_placed_as_reserved BEFORE UPDATE OF host_id ON servers
FOR EACH ROW WHEN (NEW.host_id <> OLD.host_id) EXECUTE FUNCTION servers_placed_as_reserved();

-- Epochs only rise.
CREATE TRIGGER servers_epoch_rises BEFORE UPDATE OF epoch ON servers
FOR EACH ROW WHEN (NEW.epoch < OLD.epoch) EXECUTE FUNCTION breach_of('servers_epoch_rises');

CREATE TRIGGER migrations_epoch_rises BEFORE UPDATE OF epoch ON migrations
FOR EACH ROW WHEN (NEW.epoch < OLD.epoch) EXECUTE FUNCTION breach_of('migrations_epoch_rises');

-- A migration leaves from where its server is, in pending.
CREATE FUNCTION migrations_begin() RETURNS TRIGGER LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.state <> 'pending' OR NEW.direction <> 'forward' OR NOT EXISTS (
        SELECT 1 FROM servers WHERE id = NEW.server_id AND host_id = NEW.source_id
    ) THEN
        PERFORM breach('migrations_begin');
    END IF;
    RETURN NEW;
END $$;

CREATE TRIGGER migrations_begin BEFORE INSERT ON migrations
FOR EACH ROW EXECUTE FUNCTION migrations_begin();

CREATE TRIGGER migrations_finished_for_good BEFORE UPDATE ON migrations
FOR EACH ROW WHEN (OLD.finished_at IS NOT NULL) EXECUTE FUNCTION breach_of('migrations_finished_for_good');

CREATE TRIGGER migrations_unfinished_kept BEFORE DELETE ON migrations
FOR EACH ROW WHEN (OLD.finished_at IS NULL) EXECUTE FUNCTION breach_of('migrations_unfinished_kept');

CREATE FUNCTION servers_in_migration_kept() RETURNS TRIGGER LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT 1 FROM migrations WHERE server_id = OLD.id AND finished_at IS NULL) THEN
        PERFORM breach('servers_in_migration_kept');
    END IF;
    RETURN OLD;
END $$;

CREATE TRIGGER servers_in_migration_kept BEFORE DELETE ON servers
FOR EACH ROW EXECUTE FUNCTION servers_in_migration_kept();

-- The states follow each other as the state machine says. Where hosts may have been touched, only a rollback leads back or to failed.
CREATE TRIGGER migrations_state_follows BEFORE UPDATE OF state ON migrations
FOR EACH ROW WHEN (
    NEW.state <> OLD.state
    AND (OLD.mode || ': ' || OLD.state || ' to ' || NEW.state) NOT IN (
        'live: pending to scheduling', 'cold: pending to scheduling', 'rescue: pending to scheduling',
        'live: scheduling to syncing-disk', 'cold: scheduling to syncing-disk',
        'live: scheduling to syncing-memory',
        'cold: scheduling to switching', 'rescue: scheduling to switching',
        'live: syncing-disk to syncing-memory',
        'cold: syncing-disk to switching',
        'live: syncing-memory to switching',
        'live: switching to ready', 'cold: switching to ready', 'rescue: switching to ready'
    )
    AND NOT (
        NEW.state IN ('scheduling', 'failed') AND (OLD.direction = 'rollback' OR OLD.state IN ('pending', 'scheduling'))
    )
) EXECUTE FUNCTION breach_of('migrations_state_follows');

-- Ready means that the server is on the target: both are said in one transaction.
CREATE FUNCTION migrations_ready_placed() RETURNS TRIGGER LANGUAGE plpgsql AS $$
BEGIN
    IF NOT EXISTS (SELECT 1 FROM servers WHERE id = NEW.server_id AND host_id = NEW.target_id) THEN
        PERFORM breach('migrations_ready_placed');
    END IF;
    RETURN NEW;
END $$;

CREATE TRIGGER migrations_ready_placed BEFORE UPDATE OF state ON migrations
FOR EACH ROW WHEN (NEW.state = 'ready') EXECUTE FUNCTION migrations_ready_placed();

-- No server stays behind in a migration's status: who ends the migration says what the server is now, before or together with it.
CREATE FUNCTION migrations_end_settles_server() RETURNS TRIGGER LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (
        SELECT 1 FROM servers WHERE id = NEW.server_id AND status IN ('start_migrate', 'migrating', 'live_migrating')
    ) THEN
        PERFORM breach('migrations_end_settles_server');
    END IF;
    RETURN NEW;
END $$;

CREATE TRIGGER migrations_end_settles_server BEFORE UPDATE OF finished_at ON migrations
FOR EACH ROW WHEN (NEW.finished_at IS NOT NULL) EXECUTE FUNCTION migrations_end_settles_server();

-- What was reserved is free again at the end, whoever forgets it.
CREATE FUNCTION migrations_end_reservation() RETURNS TRIGGER LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM reservations WHERE migration_id = NEW.id;
    RETURN NULL;
END $$;

CREATE TRIGGER migrations_end_reservation AFTER UPDATE OF finished_at ON migrations
FOR EACH ROW WHEN (NEW.finished_at IS NOT NULL) EXECUTE FUNCTION migrations_end_reservation();
