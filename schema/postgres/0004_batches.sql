-- Batches: many migrations submitted at once. The counts are those of their migrations, changed in the transactions that change these.
CREATE TABLE batches (
    id TEXT COLLATE "C" PRIMARY KEY,
    name TEXT COLLATE "C" NOT NULL,
    actor TEXT NOT NULL,
    -- What the submitter called the submit, and what was asked for under it.
    token TEXT COLLATE "C" UNIQUE,
    digest TEXT NOT NULL,
    mode TEXT CHECK (mode IS NULL OR mode IN ('cold', 'live')),
    live_options TEXT NOT NULL CHECK (live_options::json IS NOT NULL),
    cold_options TEXT NOT NULL CHECK (cold_options::json IS NOT NULL),
    max_attempts BIGINT NOT NULL CHECK (max_attempts >= 1),
    priority BIGINT NOT NULL,
    max_parallel BIGINT CHECK (max_parallel >= 1),
    -- As it was asked for (3, or 5%), and the number of failures at which the rest is held.
    max_failures TEXT,
    hold_at BIGINT,
    start_at BIGINT,
    -- Who paused it; null while it is not.
    paused_by TEXT,
    held_code TEXT,
    held_message TEXT,
    cancel_requested SMALLINT NOT NULL DEFAULT 0 CHECK (cancel_requested IN (0, 1)),
    retry_of TEXT COLLATE "C",
    skipped BIGINT NOT NULL DEFAULT 0,
    flaws TEXT NOT NULL DEFAULT '[]' CHECK (flaws::json IS NOT NULL),
    total BIGINT NOT NULL DEFAULT 0,
    -- Admitted and not finished; see the column of migrations.
    running BIGINT NOT NULL DEFAULT 0 CHECK (running >= 0),
    ready BIGINT NOT NULL DEFAULT 0,
    failed BIGINT NOT NULL DEFAULT 0,
    cancelled BIGINT NOT NULL DEFAULT 0,
    created_at BIGINT NOT NULL,
    finished_at BIGINT,
    CONSTRAINT batches_parallel CHECK (max_parallel IS NULL OR running <= max_parallel),
    CONSTRAINT batches_held_whole CHECK ((held_code IS NULL) = (held_message IS NULL)),
    CONSTRAINT batches_counted CHECK (running + ready + failed + cancelled <= total)
) WITH (fillfactor = 70);

-- Those that the queue must look at: few, however many there were.
CREATE INDEX batches_open ON batches (priority DESC, id) WHERE finished_at IS NULL;

ALTER TABLE migrations ADD COLUMN batch_id TEXT COLLATE "C" REFERENCES batches (id);
-- It was let begin and is not over, or holds something on hosts: it counts against the limits of its batch and of the cluster, and whoever
-- claims it again does not ask these again.
ALTER TABLE migrations ADD COLUMN admitted SMALLINT NOT NULL DEFAULT 0
    CHECK (admitted IN (0, 1) AND (admitted = 0 OR finished_at IS NULL));

-- What all migrations together may have under way; no row, or null, is no limit. Who lets one begin holds the row.
CREATE TABLE queue_limits (
    name TEXT COLLATE "C" PRIMARY KEY CHECK (name IN ('cluster')),
    maximum BIGINT CHECK (maximum >= 0),
    changed_by TEXT NOT NULL,
    changed_at BIGINT NOT NULL
);

-- The queue again, split into single ones that wait, what was let begin before or must be ended, and what waits in its batch.
DROP INDEX migrations_claimable;
DROP INDEX migrations_due;
CREATE INDEX migrations_claimable ON migrations (priority DESC, due_at, id)
    WHERE claimable = 1 AND batch_id IS NULL AND admitted = 0 AND cancel_requested = 0;
CREATE INDEX migrations_due ON migrations (due_at) WHERE claimable = 1 AND batch_id IS NULL AND admitted = 0 AND cancel_requested = 0;
CREATE INDEX migrations_again ON migrations (due_at, id) WHERE claimable = 1 AND (admitted = 1 OR cancel_requested = 1);
-- By the hosts that they leave, so that those are passed over at once that have no slot free.
CREATE INDEX migrations_batch_waiting ON migrations (batch_id, source_id, due_at, id)
    WHERE claimable = 1 AND admitted = 0 AND cancel_requested = 0;
CREATE INDEX migrations_admitted ON migrations (admitted, batch_id) WHERE admitted = 1;
CREATE INDEX migrations_admitted_leaving ON migrations (source_id, mode) WHERE admitted = 1;
CREATE INDEX migrations_batch_ending ON migrations (cancel_requested, batch_id) WHERE cancel_requested = 1 AND finished_at IS NULL;
-- Single ones under way, for their share.
CREATE INDEX migrations_active_single ON migrations (priority) WHERE active = 1 AND batch_id IS NULL;
CREATE INDEX migrations_by_batch ON migrations (batch_id, id) WHERE batch_id IS NOT NULL;
-- How fast a batch goes, and of what its migrations failed.
CREATE INDEX migrations_batch_finished ON migrations (batch_id, finished_at) WHERE finished_at IS NOT NULL;
CREATE INDEX migrations_batch_reasons ON migrations (batch_id, reason_code) WHERE finished_at IS NOT NULL AND reason_code IS NOT NULL;

UPDATE migrations SET admitted = 1
WHERE finished_at IS NULL AND (active = 1 OR EXISTS (SELECT 1 FROM reservations r WHERE r.migration_id = migrations.id));

-- Of the migration, for the questions to a batch's history. It repeats what the migration says, and the hash is not over it.
ALTER TABLE transitions ADD COLUMN batch_id TEXT COLLATE "C";
CREATE INDEX transitions_by_batch ON transitions (batch_id, at DESC, seq DESC) WHERE batch_id IS NOT NULL;

-- The two views again, with the batch.
DROP VIEW migration_outcomes;
DROP VIEW history;

-- Every finished migration with what it took. day is of the end, UTC; total_ms from the submit to the end; bytes of disk and memory.
CREATE VIEW migration_outcomes AS
SELECT
    m.id, m.server_id, (SELECT s.name FROM servers s WHERE s.id = m.server_id) AS server, m.mode, m.state, m.reason_code, m.reason_message,
    m.source_id, (SELECT h.name FROM hosts h WHERE h.id = m.source_id) AS source,
    m.target_id, (SELECT h.name FROM hosts h WHERE h.id = m.target_id) AS target,
    m.actor, m.attempt AS attempts, m.created_at, m.finished_at,
    to_char(to_timestamp(m.finished_at / 1000.0) AT TIME ZONE 'UTC', 'YYYY-MM-DD') AS day,
    m.finished_at - m.created_at AS total_ms, (m.blackout::json ->> 'totalUS')::bigint AS blackout_us,
    COALESCE((m.progress::json ->> 'diskDone')::bigint, 0) + COALESCE((m.progress::json ->> 'memoryTransferred')::bigint, 0) AS bytes,
    m.batch_id, (SELECT b.name FROM batches b WHERE b.id = m.batch_id) AS batch
FROM migrations m WHERE m.finished_at IS NOT NULL;

-- Every row of the history, with names of what still is. time is UTC.
CREATE VIEW history AS
SELECT
    t.seq, t.migration_id, t.server_id, (SELECT s.name FROM servers s WHERE s.id = t.server_id) AS server, t.mode,
    t.at, to_char(to_timestamp(t.at / 1000.0) AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') AS time,
    t.from_state, t.to_state, t.direction, t.attempt, t.epoch,
    t.source_id, (SELECT h.name FROM hosts h WHERE h.id = t.source_id) AS source,
    t.target_id, (SELECT h.name FROM hosts h WHERE h.id = t.target_id) AS target,
    t.actor, t.step, t.reason_code, t.reason_message, t.numbers, t.hash,
    t.batch_id, (SELECT b.name FROM batches b WHERE b.id = t.batch_id) AS batch
FROM transitions t;
