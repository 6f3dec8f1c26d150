-- Which steps of this schema the database has been brought through.
CREATE TABLE schema_versions (
    number INTEGER PRIMARY KEY,
    name TEXT NOT NULL,
    applied_at INTEGER NOT NULL
) STRICT;

-- Hosts, with what their agents told last. All times are milliseconds since 1970 on the store's clock.
-- The capacities are what may be promised (overcommit included); null until the agent first answered, and then nothing may be.
CREATE TABLE hosts (
    id TEXT PRIMARY KEY NOT NULL,
    name TEXT NOT NULL UNIQUE,
    agent_url TEXT NOT NULL,
    enabled INTEGER NOT NULL CHECK (enabled IN (0, 1)),
    healthy_until INTEGER NOT NULL,
    vcpus_capacity INTEGER,
    memory_capacity INTEGER,
    facts TEXT CHECK (facts IS NULL OR json_valid(facts)),
    created_at INTEGER NOT NULL,
    CONSTRAINT hosts_capacity_with_facts CHECK (
        (facts IS NULL) = (vcpus_capacity IS NULL) AND (facts IS NULL) = (memory_capacity IS NULL)
    )
) STRICT;

-- Taken out of the facts, since reservations are checked against them. Bytes.
CREATE TABLE storages (
    host_id TEXT NOT NULL REFERENCES hosts (id) ON DELETE CASCADE,
    name TEXT NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('local', 'shared')),
    capacity INTEGER NOT NULL,
    free INTEGER NOT NULL,
    PRIMARY KEY (host_id, name)
) STRICT;

CREATE TABLE networks (
    host_id TEXT NOT NULL REFERENCES hosts (id) ON DELETE CASCADE,
    name TEXT NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('bridge', 'user')),
    PRIMARY KEY (host_id, name)
) STRICT;

-- Servers and where they are. vcpus and memory repeat the description's, for the sums that rule out overbooking.
-- Whoever deploys, starts, stops or deletes one holds it until operation_until.
CREATE TABLE servers (
    id TEXT PRIMARY KEY NOT NULL,
    name TEXT NOT NULL UNIQUE,
    status TEXT NOT NULL CHECK (
        status IN ('deploying', 'ready', 'starting', 'running', 'stopping', 'deleting', 'start_migrate', 'migrating', 'live_migrating')
    ),
    host_id TEXT NOT NULL REFERENCES hosts (id),
    epoch INTEGER NOT NULL CHECK (epoch >= 1),
    vcpus INTEGER NOT NULL CHECK (vcpus > 0),
    memory INTEGER NOT NULL CHECK (memory > 0),
    description TEXT NOT NULL CHECK (json_valid(description)),
    note_code TEXT,
    note_message TEXT,
    operation_owner TEXT,
    operation_until INTEGER,
    created_at INTEGER NOT NULL,
    CONSTRAINT servers_operation_held CHECK (
        (status IN ('deploying', 'starting', 'stopping', 'deleting')) = (operation_owner IS NOT NULL)
        AND (operation_owner IS NULL) = (operation_until IS NULL)
    ),
    CONSTRAINT servers_note_whole CHECK ((note_code IS NULL) = (note_message IS NULL))
) STRICT;

-- With what is summed up, so that the sums read nothing else.
CREATE INDEX servers_by_host ON servers (host_id, vcpus, memory);
CREATE INDEX servers_operations ON servers (operation_until) WHERE operation_owner IS NOT NULL;

-- Migrations. No foreign key leads to the server: its row may go, what happened to it stays.
CREATE TABLE migrations (
    id TEXT PRIMARY KEY NOT NULL,
    server_id TEXT NOT NULL,
    mode TEXT NOT NULL CHECK (mode IN ('cold', 'live', 'rescue')),
    options TEXT NOT NULL CHECK (json_valid(options)),
    state TEXT NOT NULL CHECK (
        state IN ('pending', 'scheduling', 'syncing-disk', 'syncing-memory', 'switching', 'ready', 'failed')
    ),
    direction TEXT NOT NULL CHECK (direction IN ('forward', 'rollback')),
    priority INTEGER NOT NULL DEFAULT 0,
    epoch INTEGER NOT NULL CHECK (epoch >= 1),
    attempt INTEGER NOT NULL CHECK (attempt >= 0),
    max_attempts INTEGER NOT NULL CHECK (max_attempts >= 1),
    source_id TEXT NOT NULL REFERENCES hosts (id),
    target_id TEXT REFERENCES hosts (id),
    excluded TEXT NOT NULL CHECK (json_valid(excluded)),
    reason_code TEXT,
    reason_message TEXT,
    -- What another try could change about the reason, for whoever ends the rollback.
    remedy TEXT CHECK (remedy IS NULL OR remedy IN ('same-target', 'other-target', 'none')),
    cancel_requested INTEGER NOT NULL DEFAULT 0 CHECK (cancel_requested IN (0, 1)),
    awaiting TEXT,
    progress TEXT CHECK (progress IS NULL OR json_valid(progress)),
    blackout TEXT CHECK (blackout IS NULL OR json_valid(blackout)),
    actor TEXT NOT NULL,
    -- Free to be claimed once due; held under a lease; or finished: exactly one of the three. The queue's indexes hang on these
    -- flags and not on the state, so that a change of state leaves them alone.
    claimable INTEGER NOT NULL CHECK (claimable IN (0, 1)),
    active INTEGER NOT NULL CHECK (active IN (0, 1)),
    lease_owner TEXT,
    lease_until INTEGER,
    created_at INTEGER NOT NULL,
    due_at INTEGER NOT NULL,
    finished_at INTEGER,
    CONSTRAINT migrations_one_place CHECK (claimable + active + (finished_at IS NOT NULL) = 1),
    CONSTRAINT migrations_active_leased CHECK ((active = 1) = (lease_owner IS NOT NULL) AND (active = 1) = (lease_until IS NOT NULL)),
    CONSTRAINT migrations_finished_in_time CHECK ((state IN ('ready', 'failed')) = (finished_at IS NOT NULL)),
    CONSTRAINT migrations_target_chosen CHECK (
        target_id IS NOT NULL OR state NOT IN ('syncing-disk', 'syncing-memory', 'switching', 'ready')
    ),
    CONSTRAINT migrations_target_elsewhere CHECK (target_id <> source_id),
    CONSTRAINT migrations_attempt_counted CHECK (attempt <= max_attempts AND (attempt >= 1 OR state IN ('pending', 'failed'))),
    CONSTRAINT migrations_reason_whole CHECK ((reason_code IS NULL) = (reason_message IS NULL)),
    CONSTRAINT migrations_failure_named CHECK (reason_code IS NOT NULL OR (state <> 'failed' AND direction = 'forward'))
) STRICT;

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
    migration_id TEXT NOT NULL REFERENCES migrations (id) ON DELETE CASCADE,
    attempt INTEGER NOT NULL,
    step TEXT NOT NULL,
    position INTEGER NOT NULL,
    status TEXT NOT NULL CHECK (status IN ('started', 'done', 'compensated', 'deferred')),
    output TEXT,
    changed_at INTEGER NOT NULL,
    PRIMARY KEY (migration_id, attempt, step)
) STRICT;

-- The history: written once, kept for ever, and complete without any other table.
CREATE TABLE transitions (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    migration_id TEXT NOT NULL,
    server_id TEXT NOT NULL,
    at INTEGER NOT NULL,
    from_state TEXT,
    to_state TEXT NOT NULL,
    direction TEXT NOT NULL,
    attempt INTEGER NOT NULL,
    epoch INTEGER NOT NULL,
    source_id TEXT NOT NULL,
    target_id TEXT,
    actor TEXT NOT NULL,
    step TEXT,
    reason_code TEXT,
    reason_message TEXT,
    numbers TEXT NOT NULL CHECK (json_valid(numbers))
) STRICT;

CREATE INDEX transitions_by_migration ON transitions (migration_id, seq);
CREATE INDEX transitions_by_server ON transitions (server_id, at DESC, seq DESC);
CREATE INDEX transitions_by_source ON transitions (source_id, at DESC, seq DESC);
CREATE INDEX transitions_by_target ON transitions (target_id, at DESC, seq DESC);
CREATE INDEX transitions_by_time ON transitions (at DESC, seq DESC);
CREATE INDEX transitions_failures ON transitions (at, reason_code) WHERE to_state = 'failed';

CREATE TRIGGER transitions_not_updated BEFORE UPDATE ON transitions
BEGIN SELECT RAISE(ABORT, 'transitions_append_only'); END;

CREATE TRIGGER transitions_not_deleted BEFORE DELETE ON transitions
BEGIN SELECT RAISE(ABORT, 'transitions_append_only'); END;

-- What unfinished migrations will need on their targets.
CREATE TABLE reservations (
    migration_id TEXT PRIMARY KEY NOT NULL REFERENCES migrations (id) ON DELETE CASCADE,
    host_id TEXT NOT NULL REFERENCES hosts (id),
    vcpus INTEGER NOT NULL CHECK (vcpus >= 0),
    memory INTEGER NOT NULL CHECK (memory >= 0),
    created_at INTEGER NOT NULL,
    UNIQUE (migration_id, host_id)
) STRICT;

CREATE INDEX reservations_by_host ON reservations (host_id, vcpus, memory);

CREATE TABLE reserved_storages (
    migration_id TEXT NOT NULL,
    host_id TEXT NOT NULL,
    storage TEXT NOT NULL,
    bytes INTEGER NOT NULL CHECK (bytes >= 0),
    PRIMARY KEY (migration_id, storage),
    FOREIGN KEY (migration_id, host_id) REFERENCES reservations (migration_id, host_id) ON DELETE CASCADE
) STRICT;

CREATE INDEX reserved_storages_by_storage ON reserved_storages (storage, host_id);

-- What must still be removed from a host; kept with done_at when it was.
CREATE TABLE cleanups (
    id TEXT PRIMARY KEY NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('source', 'target')),
    migration_id TEXT NOT NULL,
    server_id TEXT NOT NULL,
    host_id TEXT NOT NULL REFERENCES hosts (id),
    attempt INTEGER NOT NULL,
    epoch INTEGER NOT NULL,
    tries INTEGER NOT NULL DEFAULT 0,
    last_error TEXT,
    lease_owner TEXT,
    -- Due from here on: put off after a failure, and while somebody is at it until the end of their lease.
    due_at INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    done_at INTEGER
) STRICT;

CREATE INDEX cleanups_due ON cleanups (due_at) WHERE done_at IS NULL;

-- What is left of each host to be promised.
CREATE VIEW host_rooms AS
SELECT
    h.id AS host_id,
    COALESCE(h.vcpus_capacity, 0)
        - COALESCE((SELECT SUM(s.vcpus) FROM servers s WHERE s.host_id = h.id), 0)
        - COALESCE((SELECT SUM(r.vcpus) FROM reservations r WHERE r.host_id = h.id), 0) AS vcpus,
    COALESCE(h.memory_capacity, 0)
        - COALESCE((SELECT SUM(s.memory) FROM servers s WHERE s.host_id = h.id), 0)
        - COALESCE((SELECT SUM(r.memory) FROM reservations r WHERE r.host_id = h.id), 0) AS memory
FROM hosts h;

-- And of each storage. What is reserved on a shared one counts on every host that sees it.
CREATE VIEW storage_rooms AS
SELECT
    s.host_id AS host_id,
    s.name AS name,
    s.free - COALESCE(
        (
            SELECT SUM(r.bytes)
            FROM reserved_storages r JOIN storages o ON o.host_id = r.host_id AND o.name = r.storage
            WHERE r.storage = s.name AND (r.host_id = s.host_id OR (s.kind = 'shared' AND o.kind = 'shared'))
        ), 0) AS bytes
FROM storages s;

-- Nothing is promised twice: neither to a new server nor to a migration on its way.
CREATE TRIGGER servers_not_overbooked BEFORE INSERT ON servers
WHEN NOT EXISTS (
    SELECT 1 FROM host_rooms WHERE host_id = NEW.host_id AND vcpus >= NEW.vcpus AND memory >= NEW.memory
)
BEGIN SELECT RAISE(ABORT, 'hosts_not_overbooked'); END;

CREATE TRIGGER servers_grown_not_overbooked BEFORE UPDATE OF vcpus, memory ON servers
WHEN (NEW.vcpus > OLD.vcpus OR NEW.memory > OLD.memory) AND NOT EXISTS (
    SELECT 1 FROM host_rooms
    WHERE host_id = OLD.host_id AND vcpus >= NEW.vcpus - OLD.vcpus AND memory >= NEW.memory - OLD.memory
)
BEGIN SELECT RAISE(ABORT, 'hosts_not_overbooked'); END;

CREATE TRIGGER reservations_not_overbooked BEFORE INSERT ON reservations
WHEN NOT EXISTS (
    SELECT 1 FROM host_rooms WHERE host_id = NEW.host_id AND vcpus >= NEW.vcpus AND memory >= NEW.memory
)
BEGIN SELECT RAISE(ABORT, 'hosts_not_overbooked'); END;

CREATE TRIGGER storages_not_overbooked BEFORE INSERT ON reserved_storages
WHEN NOT EXISTS (
    SELECT 1 FROM storage_rooms WHERE host_id = NEW.host_id AND name = NEW.storage AND bytes >= NEW.bytes
)
BEGIN SELECT RAISE(ABORT, 'storages_not_overbooked'); END;

-- A reservation is for an unfinished migration and covers its server, so that placing the server later cannot be refused.
CREATE TRIGGER reservations_cover_server BEFORE INSERT ON reservations
WHEN NOT EXISTS (
    SELECT 1 FROM migrations m JOIN servers s ON s.id = m.server_id
    WHERE m.id = NEW.migration_id AND m.finished_at IS NULL AND s.vcpus <= NEW.vcpus AND s.memory <= NEW.memory
)
BEGIN SELECT RAISE(ABORT, 'reservations_cover_server'); END;

CREATE TRIGGER reservations_not_changed BEFORE UPDATE ON reservations
BEGIN SELECT RAISE(ABORT, 'reservations_not_changed'); END;

CREATE TRIGGER reserved_storages_not_changed BEFORE UPDATE ON reserved_storages
BEGIN SELECT RAISE(ABORT, 'reservations_not_changed'); END;

-- A server moves only to where its migration holds a reservation. The guest may run there already, so that nothing else is asked.
CREATE TRIGGER servers_placed_as_reserved BEFORE UPDATE OF host_id ON servers
WHEN NEW.host_id <> OLD.host_id AND NOT EXISTS (
    SELECT 1 FROM reservations r JOIN migrations m ON m.id = r.migration_id WHERE m.server_id = OLD.id AND r.host_id = NEW.host_id
)
BEGIN SELECT RAISE(ABORT, 'servers_placed_as_reserved'); END;

-- Epochs only rise.
CREATE TRIGGER servers_epoch_rises BEFORE UPDATE OF epoch ON servers
WHEN NEW.epoch < OLD.epoch
BEGIN SELECT RAISE(ABORT, 'servers_epoch_rises'); END;

CREATE TRIGGER migrations_epoch_rises BEFORE UPDATE OF epoch ON migrations
WHEN NEW.epoch < OLD.epoch
BEGIN SELECT RAISE(ABORT, 'migrations_epoch_rises'); END;

-- A migration leaves from where its server is, in pending.
CREATE TRIGGER migrations_begin BEFORE INSERT ON migrations
WHEN NEW.state <> 'pending' OR NEW.direction <> 'forward' OR NOT EXISTS (
    SELECT 1 FROM servers WHERE id = NEW.server_id AND host_id = NEW.source_id
)
BEGIN SELECT RAISE(ABORT, 'migrations_begin'); END;

CREATE TRIGGER migrations_finished_for_good BEFORE UPDATE ON migrations
WHEN OLD.finished_at IS NOT NULL
BEGIN SELECT RAISE(ABORT, 'migrations_finished_for_good'); END;

CREATE TRIGGER migrations_unfinished_kept BEFORE DELETE ON migrations
WHEN OLD.finished_at IS NULL
BEGIN SELECT RAISE(ABORT, 'migrations_unfinished_kept'); END;

CREATE TRIGGER servers_in_migration_kept BEFORE DELETE ON servers
WHEN EXISTS (SELECT 1 FROM migrations WHERE server_id = OLD.id AND finished_at IS NULL)
BEGIN SELECT RAISE(ABORT, 'servers_in_migration_kept'); END;

-- The states follow each other as the state machine says. Where hosts may have been touched, only a rollback leads back or to failed.
CREATE TRIGGER migrations_state_follows BEFORE UPDATE OF state ON migrations
WHEN NEW.state <> OLD.state
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
BEGIN SELECT RAISE(ABORT, 'migrations_state_follows'); END;

-- Ready means that the server is on the target: both are said in one transaction.
CREATE TRIGGER migrations_ready_placed BEFORE UPDATE OF state ON migrations
WHEN NEW.state = 'ready' AND NOT EXISTS (SELECT 1 FROM servers WHERE id = NEW.server_id AND host_id = NEW.target_id)
BEGIN SELECT RAISE(ABORT, 'migrations_ready_placed'); END;

-- No server stays behind in a migration's status: who ends the migration says what the server is now, before or together with it.
CREATE TRIGGER migrations_end_settles_server BEFORE UPDATE OF finished_at ON migrations
WHEN NEW.finished_at IS NOT NULL AND EXISTS (
    SELECT 1 FROM servers WHERE id = NEW.server_id AND status IN ('start_migrate', 'migrating', 'live_migrating')
)
BEGIN SELECT RAISE(ABORT, 'migrations_end_settles_server'); END;

-- What was reserved is free again at the end, whoever forgets it.
CREATE TRIGGER migrations_end_reservation AFTER UPDATE OF finished_at ON migrations
WHEN NEW.finished_at IS NOT NULL
BEGIN DELETE FROM reservations WHERE migration_id = NEW.id; END;
