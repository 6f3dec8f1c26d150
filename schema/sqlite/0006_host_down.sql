-- Whether the host's servers are started elsewhere when it is proven dead, and also when it was shut down in order.
ALTER TABLE hosts ADD COLUMN auto_migrate_on_host_down INTEGER NOT NULL DEFAULT 0 CHECK (auto_migrate_on_host_down IN (0, 1));
ALTER TABLE hosts ADD COLUMN auto_migrate_on_host_shutdown INTEGER NOT NULL DEFAULT 0
    CHECK (auto_migrate_on_host_shutdown IN (0, 1) AND auto_migrate_on_host_shutdown <= auto_migrate_on_host_down);

-- What the host's guard was told: every order has a number, which stands here before the guard hears of it. guard_confirmed: it has
-- confirmed a lease since guard_released, the last order by which nobody counts on it; guard_lease_ms: the longest lease since then.
ALTER TABLE hosts ADD COLUMN guard_number INTEGER NOT NULL DEFAULT 0;
ALTER TABLE hosts ADD COLUMN guard_released INTEGER NOT NULL DEFAULT 0;
ALTER TABLE hosts ADD COLUMN guard_confirmed INTEGER NOT NULL DEFAULT 0 CHECK (guard_confirmed IN (0, 1));
ALTER TABLE hosts ADD COLUMN guard_lease_ms INTEGER NOT NULL DEFAULT 0;

-- What came of its going offline, for people.
ALTER TABLE hosts ADD COLUMN down_note TEXT;

CREATE TRIGGER hosts_guard_number_rises BEFORE UPDATE OF guard_number ON hosts
WHEN NEW.guard_number < OLD.guard_number
BEGIN SELECT RAISE(ABORT, 'hosts_guard_number_rises'); END;
