-- The mode belongs to what the history says of itself.
ALTER TABLE transitions ADD COLUMN mode TEXT NOT NULL DEFAULT 'live' CHECK (mode IN ('cold', 'live', 'rescue'));

DROP TRIGGER transitions_not_updated;

UPDATE transitions SET mode = COALESCE((SELECT m.mode FROM migrations m WHERE m.id = transitions.migration_id), mode);

-- SHA-256 in hexadecimal over the hash of the migration's row before (an empty text for the first) and this row's migration_id, server_id, at,
-- from_state, to_state, direction, attempt, epoch, source_id, target_id, actor, step, reason_code, reason_message, numbers, mode: each
-- as its length in bytes, a colon and its text, null as a minus sign, a comma behind each. Null in rows from before there were hashes.
ALTER TABLE transitions ADD COLUMN hash TEXT;

CREATE TRIGGER transitions_not_updated BEFORE UPDATE ON transitions
BEGIN SELECT RAISE(ABORT, 'transitions_append_only'); END;

-- How many rows with a hash a migration's history has, those that were pruned too, and the last one's hash, so that a missing last row is
-- noticed. pruned_seq: rows up to this one were taken away on purpose; of these pruned_length had a hash, the last one pruned_hash.
CREATE TABLE history_heads (
    migration_id TEXT PRIMARY KEY NOT NULL,
    length INTEGER NOT NULL CHECK (length >= 1),
    hash TEXT NOT NULL,
    pruned_seq INTEGER,
    pruned_length INTEGER NOT NULL DEFAULT 0 CHECK (pruned_length >= 0 AND pruned_length < length),
    pruned_hash TEXT,
    CONSTRAINT history_heads_pruned_whole CHECK (
        (pruned_seq IS NOT NULL OR pruned_length = 0) AND (pruned_hash IS NOT NULL) = (pruned_length > 0)
    )
) STRICT, WITHOUT ROWID;

CREATE TRIGGER history_heads_grow BEFORE UPDATE ON history_heads
WHEN NEW.migration_id <> OLD.migration_id OR NEW.length <= OLD.length
BEGIN SELECT RAISE(ABORT, 'history_heads_grow'); END;

CREATE TRIGGER history_heads_not_deleted BEFORE DELETE ON history_heads
BEGIN SELECT RAISE(ABORT, 'history_heads_grow'); END;

-- Only a finished migration's history is pruned, and never without a mark: a row of the history, after those that go, that says so and goes
-- on from the last hash.
CREATE TRIGGER history_heads_marked BEFORE UPDATE ON history_heads
WHEN (NEW.pruned_seq IS NOT OLD.pruned_seq OR NEW.pruned_length <> OLD.pruned_length OR NEW.pruned_hash IS NOT OLD.pruned_hash)
    AND (EXISTS (SELECT 1 FROM migrations m WHERE m.id = NEW.migration_id AND m.finished_at IS NULL) OR NOT EXISTS (
        SELECT 1 FROM transitions t WHERE t.migration_id = NEW.migration_id AND t.seq > NEW.pruned_seq AND t.hash = NEW.hash
            AND t.reason_code = 'history-pruned'
    ))
BEGIN SELECT RAISE(ABORT, 'history_heads_marked'); END;

CREATE TRIGGER history_heads_begun_marked BEFORE INSERT ON history_heads
WHEN NEW.pruned_seq IS NOT NULL
    AND (EXISTS (SELECT 1 FROM migrations m WHERE m.id = NEW.migration_id AND m.finished_at IS NULL) OR NOT EXISTS (
        SELECT 1 FROM transitions t WHERE t.migration_id = NEW.migration_id AND t.seq > NEW.pruned_seq AND t.hash = NEW.hash
            AND t.reason_code = 'history-pruned'
    ))
BEGIN SELECT RAISE(ABORT, 'history_heads_marked'); END;

-- The way through for pruning, and there is no other: a row goes once its migration's head says so.
DROP TRIGGER transitions_not_deleted;

CREATE TRIGGER transitions_not_deleted BEFORE DELETE ON transitions
WHEN NOT EXISTS (SELECT 1 FROM history_heads h WHERE h.migration_id = OLD.migration_id AND h.pruned_seq >= OLD.seq)
BEGIN SELECT RAISE(ABORT, 'transitions_append_only'); END;

CREATE INDEX migrations_finished ON migrations (finished_at, id) WHERE finished_at IS NOT NULL;

-- For people and their tools. These two views stay as they are from version to version; columns may be added.

-- Every finished migration with what it took. day is of the end, UTC; total_ms from the submit to the end; bytes of disk and memory.
CREATE VIEW migration_outcomes AS
SELECT
    m.id, m.server_id, (SELECT s.name FROM servers s WHERE s.id = m.server_id) AS server, m.mode, m.state, m.reason_code, m.reason_message,
    m.source_id, (SELECT h.name FROM hosts h WHERE h.id = m.source_id) AS source,
    m.target_id, (SELECT h.name FROM hosts h WHERE h.id = m.target_id) AS target,
    m.actor, m.attempt AS attempts, m.created_at, m.finished_at, strftime('%Y-%m-%d', m.finished_at / 1000, 'unixepoch') AS day,
    m.finished_at - m.created_at AS total_ms, json_extract(m.blackout, '$.totalUS') AS blackout_us,
    COALESCE(json_extract(m.progress, '$.diskDone'), 0) + COALESCE(json_extract(m.progress, '$.memoryTransferred'), 0) AS bytes
FROM migrations m WHERE m.finished_at IS NOT NULL;

-- Every row of the history, with names of what still is. time is UTC.
CREATE VIEW history AS
SELECT
    t.seq, t.migration_id, t.server_id, (SELECT s.name FROM servers s WHERE s.id = t.server_id) AS server, t.mode,
    t.at, strftime('%Y-%m-%dT%H:%M:%fZ', t.at / 1000.0, 'unixepoch') AS time, t.from_state, t.to_state, t.direction, t.attempt, t.epoch,
    t.source_id, (SELECT h.name FROM hosts h WHERE h.id = t.source_id) AS source,
    t.target_id, (SELECT h.name FROM hosts h WHERE h.id = t.target_id) AS target,
    t.actor, t.step, t.reason_code, t.reason_message, t.numbers, t.hash
FROM transitions t;
