-- For questions that ask for failures only, which read nothing but this index; hence the state in it, though all of them are the same.
CREATE INDEX migrations_failures ON migrations (finished_at, reason_code, mode, state) WHERE state = 'failed';
