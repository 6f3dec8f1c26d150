-- For questions that ask for failures only, which read nothing but this index; hence the state in it, though all of them are the same.
CREATE INDEX migrations_failures ON migrations (finished_at, reason_code, mode, state) WHERE state = 'failed';

-- Without the single ones: for their questions, too, the planner took this one and sorted all that waits.
DROP INDEX migrations_batch_waiting;
CREATE INDEX migrations_batch_waiting ON migrations (batch_id, source_id, due_at, id)
    WHERE batch_id IS NOT NULL AND claimable = 1 AND admitted = 0 AND cancel_requested = 0;
