-- The mode belongs to what the history says of itself.
ALTER TABLE transitions ADD COLUMN mode TEXT NOT NULL DEFAULT 'live' CHECK (mode IN ('cold', 'live', 'rescue'));

DROP TRIGGER transitions_not_updated ON transitions;

UPDATE transitions t SET mode = m.mode FROM migrations m WHERE m.id = t.migration_id;

-- SHA-256 in hexadecimal over the hash of the migration's row before (an empty text for the first) and this row's migration_id, server_id, at,
-- from_state, to_state, direction, attempt, epoch, source_id, target_id, actor, step, reason_code, reason_message, numbers, mode: each
-- as its length in bytes, a colon and its text, null as a minus sign, a comma behind each. Null in rows from before there were hashes.
ALTER TABLE transitions ADD COLUMN hash TEXT;

CREATE TRIGGER transitions_not_updated BEFORE UPDATE ON transitions
FOR EACH ROW EXECUTE FUNCTION breach_of('transitions_append_only');

-- How many rows with a hash a migration's history has, and the last one's hash, so that a missing last row is noticed too.
CREATE TABLE history_heads (
    migration_id TEXT COLLATE "C" PRIMARY KEY,
    length BIGINT NOT NULL CHECK (length >= 1),
    hash TEXT NOT NULL
) WITH (fillfactor = 50);

CREATE TRIGGER history_heads_grow BEFORE UPDATE ON history_heads
FOR EACH ROW WHEN (NEW.migration_id <> OLD.migration_id OR NEW.length <= OLD.length)
EXECUTE FUNCTION breach_of('history_heads_grow');

CREATE TRIGGER history_heads_not_deleted BEFORE DELETE ON history_heads
FOR EACH ROW EXECUTE FUNCTION breach_of('history_heads_grow');

CREATE INDEX migrations_finished ON migrations (finished_at) WHERE finished_at IS NOT NULL;

-- For people and their tools. These two views stay as they are from version to version; columns may be added.

-- Every finished migration with what it took. day is of the end, UTC; total_ms from the submit to the end; bytes of disk and memory.
CREATE VIEW migration_outcomes AS
SELECT
    m.id, m.server_id, (SELECT s.name FROM servers s WHERE s.id = m.server_id) AS server, m.mode, m.state, m.reason_code, m.reason_message,
    m.source_id, (SELECT h.name FROM hosts h WHERE h.id = m.source_id) AS source,
    m.target_id, (SELECT h.name FROM hosts h WHERE h.id = m.target_id) AS target,
    m.actor, m.attempt AS attempts, m.created_at, m.finished_at,
    to_char(to_timestamp(m.finished_at / 1000.0) AT TIME ZONE 'UTC', 'YYYY-MM-DD') AS day,
    m.finished_at - m.created_at AS total_ms, (m.blackout::json ->> 'totalUS')::bigint AS blackout_us,
    COALESCE((m.progress::json ->> 'diskDone')::bigint, 0) + COALESCE((m.progress::json ->> 'memoryTransferred')::bigint, 0) AS bytes
FROM migrations m WHERE m.finished_at IS NOT NULL;

-- Every row of the history, with names of what still is. time is UTC.
CREATE VIEW history AS
SELECT
    t.seq, t.migration_id, t.server_id, (SELECT s.name FROM servers s WHERE s.id = t.server_id) AS server, t.mode,
    t.at, to_char(to_timestamp(t.at / 1000.0) AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') AS time,
    t.from_state, t.to_state, t.direction, t.attempt, t.epoch,
    t.source_id, (SELECT h.name FROM hosts h WHERE h.id = t.source_id) AS source,
    t.target_id, (SELECT h.name FROM hosts h WHERE h.id = t.target_id) AS target,
    t.actor, t.step, t.reason_code, t.reason_message, t.numbers, t.hash
FROM transitions t;
