-- When it failed, for questions that ask for failures only: they read nothing but the index. A column of its own, since an index that named
-- the state would be written to at every transition.
ALTER TABLE migrations ADD COLUMN failed_at BIGINT GENERATED ALWAYS AS (CASE WHEN state = 'failed' THEN finished_at END) STORED;

CREATE INDEX migrations_failures ON migrations (failed_at, reason_code, mode) WHERE failed_at IS NOT NULL;

-- Whoever reserves for a migration is alone, until the transaction's end, with those that do so on the same target, out of the same source,
-- on a storage that hosts share, or for a server of the same group; and with all that promise anything else. Locks are taken in one order.
CREATE FUNCTION placement_lock_of(target TEXT, source TEXT, server TEXT, wanted TEXT) RETURNS VOID LANGUAGE plpgsql AS $$
DECLARE
    key INTEGER;
BEGIN
    PERFORM pg_advisory_xact_lock_shared(1198482551, hashtext(current_schema() || '.placement'));
    FOR key IN
        SELECT DISTINCT hashtext(current_schema() || '.placement.' || k.name) FROM (
            SELECT 'host ' || target AS name
            UNION ALL SELECT 'host ' || source
            UNION ALL SELECT 'storage ' || s.name FROM storages s
                WHERE s.host_id = target AND s.kind = 'shared' AND wanted::jsonb ? s.name
            UNION ALL SELECT 'group ' || g.group_id FROM server_group_members g WHERE g.server_id = server
        ) AS k WHERE k.name IS NOT NULL ORDER BY 1
    LOOP
        PERFORM pg_advisory_xact_lock(1198482552, key);
    END LOOP;
END $$;

CREATE OR REPLACE FUNCTION reservations_checked() RETURNS TRIGGER LANGUAGE plpgsql AS $$
BEGIN
    PERFORM placement_lock_of(NEW.host_id, NULL, NULL, '[]');
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

CREATE OR REPLACE FUNCTION storages_not_overbooked() RETURNS TRIGGER LANGUAGE plpgsql AS $$
BEGIN
    PERFORM placement_lock_of(NEW.host_id, NULL, NULL, jsonb_build_array(NEW.storage)::text);
    IF NOT EXISTS (SELECT 1 FROM storage_rooms WHERE host_id = NEW.host_id AND name = NEW.storage AND bytes >= NEW.bytes) THEN
        PERFORM breach('storages_not_overbooked');
    END IF;
    RETURN NEW;
END $$;

-- Without the single ones: for their questions, too, the planner took this one and sorted all that waits.
DROP INDEX migrations_batch_waiting;
CREATE INDEX migrations_batch_waiting ON migrations (batch_id, source_id, due_at, id)
    WHERE batch_id IS NOT NULL AND claimable = 1 AND admitted = 0 AND cancel_requested = 0;
