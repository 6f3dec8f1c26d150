package import Fleet
import SQL

extension Store {
    /// Renews the lease. Returns the row as it is now (a cancellation may have been asked for). Throws `superseded`.
    package func renewLease(_ migration: MigrationID, epoch: Epoch, worker: String, leaseMS: Int64) async throws -> Migration {
        try await write { transaction in
            let rows = try await transaction.query(
                """
                UPDATE migrations SET lease_until = \(dialect.now) + \(leaseMS)
                WHERE id = \(migration.value) AND epoch = \(epoch.value) AND lease_owner = \(worker) AND active = 1
                RETURNING \(Migration.columns)
                """)
            guard let row = rows.first else { throw try await claimOver(migration, epoch, in: transaction) }
            return try Migration(row)
        }
    }

    /// The only way in which a worker writes. Throws `superseded`, `overbooked`.
    @discardableResult
    package func apply(_ change: MigrationChange, worker: String) async throws -> Migration {
        try await write { transaction in
            try await apply(change, worker: worker, in: transaction)
        }
    }

    /// How far it is; no history row. Throws `superseded`.
    package func recordProgress(_ migration: MigrationID, epoch: Epoch, _ progress: Progress) async throws {
        let text = try JSON.text(progress)
        try await write { transaction in
            let changed = try await transaction.execute(
                """
                UPDATE migrations SET progress = \(text)
                WHERE id = \(migration.value) AND epoch = \(epoch.value) AND active = 1
                """)
            guard changed == 1 else { throw try await claimOver(migration, epoch, in: transaction) }
        }
    }

    // MARK: the parts of a change

    private func apply(_ change: MigrationChange, worker: String, in transaction: any SQLTransaction) async throws -> Migration {
        let migration = change.migration
        let mine: SQLStatement =
            "id = \(migration.id.value) AND epoch = \(migration.epoch.value) AND lease_owner = \(worker) AND active = 1"
        let held = try await transaction.query("SELECT state, batch_id, admitted FROM migrations WHERE \(mine) \(dialect.lock)")
        guard let row = held.first else { throw try await claimOver(migration.id, migration.epoch, in: transaction) }
        guard try change.history != nil || row.text("state") == migration.state.rawValue else {
            throw StoreError(
                .invalid,
                "Migration \(migration.id) cannot go from \(try row.text("state")) to \(migration.state.rawValue) without a row in the history."
            )
        }
        // The placement comes first: it rests on the reservation, and `ready` rests on it.
        if change.placement != nil || change.serverStatus != nil {
            // Held by nobody who lives: a controller takes it over at once.
            let isOperation = change.serverStatus?.isOperation ?? false
            let description = try change.description.map { try JSON.text($0) }
            let changed = try await transaction.execute(
                """
                UPDATE servers SET
                    operation_owner = \(isOperation ? "migration \(migration.id)" : nil),
                    operation_until = CASE WHEN \(isOperation) = 1 THEN \(dialect.now) END,
                    host_id = COALESCE(\(change.placement?.value), host_id), description = COALESCE(\(description), description),
                    status = COALESCE(\(change.serverStatus?.rawValue), status),
                    note_code = CASE WHEN \(change.serverStatus != nil) = 1 THEN \(change.serverNote?.code.value) ELSE note_code END,
                    note_message = CASE WHEN \(change.serverStatus != nil) = 1 THEN \(change.serverNote?.message) ELSE note_message END
                WHERE id = \(migration.server.value) AND epoch = \(migration.epoch.value)
                """)
            guard changed == 1 else { throw try await claimOver(migration.id, migration.epoch, in: transaction) }
        }
        if change.release || change.reserve != nil {
            try await transaction.execute("DELETE FROM reservations WHERE migration_id = \(migration.id.value)")
        }
        if let reservation = change.reserve { try await reserve(reservation, for: migration, in: transaction) }
        let isReleased = change.releaseLease || migration.state.isFinished
        let due: SQLStatement = if let delay = change.dueInMS { "\(dialect.now) + \(delay)" } else { "\(migration.dueAt.milliseconds)" }
        let deadline: SQLStatement = if let left = change.deadlineInMS { "\(dialect.now) + \(left)" } else { "NULL" }
        // It gives back its place in its batch and in the cluster when it is over, or waits and holds nothing on any host.
        let isLeft: SQLStatement =
            if migration.state.isFinished {
                "1 = 1"
            } else if change.releaseLease, migration.direction == .forward {
                "NOT EXISTS (SELECT 1 FROM reservations r WHERE r.migration_id = migrations.id)"
            } else {
                "1 = 0"
            }
        let written = try await transaction.query(
            """
            UPDATE migrations SET state = \(migration.state.rawValue), direction = \(migration.direction.rawValue),
                progress = CASE WHEN attempt = \(migration.attempt) THEN COALESCE(\(try migration.progress.map { try JSON.text($0) }), progress)
                    ELSE \(try migration.progress.map { try JSON.text($0) }) END,
                deadline_at = CASE WHEN attempt = \(migration.attempt) AND deadline_at IS NOT NULL THEN deadline_at ELSE \(deadline) END,
                attempt = \(migration.attempt), max_attempts = \(migration.maxAttempts), target_id = \(migration.target?.value),
                excluded = \(try migration.excludedText), reason_code = \(migration.reason?.code.value),
                reason_message = \(migration.reason?.message), remedy = \(migration.remedy?.rawValue), awaiting = \(migration.awaiting),
                blackout = \(try migration.blackout.map { try JSON.text($0) }), due_at = \(due),
                finished_at = \(migration.state.isFinished ? dialect.now : "NULL"),
                claimable = \(isReleased && !migration.state.isFinished), active = \(!isReleased),
                lease_owner = CASE WHEN \(isReleased) = 1 THEN NULL ELSE lease_owner END,
                lease_until = CASE WHEN \(isReleased) = 1 THEN NULL ELSE lease_until END,
                admitted = CASE WHEN \(isLeft) THEN 0 ELSE admitted END
            WHERE \(mine) RETURNING \(Migration.columns), admitted
            """)
        let result = try Migration(only(written))
        try await count(
            result, wasAdmitted: row.flag("admitted"), isAdmitted: only(written).flag("admitted"), in: transaction)
        for entry in change.journal { try await write(entry, of: migration.id, in: transaction) }
        if let note = change.history { try await record(note, of: result, in: transaction) }
        for note in change.notes { try await record(note, of: result, in: transaction) }
        for cleanup in change.cleanups { try await insert(cleanup, in: transaction) }
        return result
    }

    private func write(_ entry: JournalEntry, of migration: MigrationID, in transaction: any SQLTransaction) async throws {
        try await transaction.execute(
            """
            INSERT INTO steps (migration_id, attempt, step, position, status, output, changed_at)
            VALUES (\(migration.value), \(entry.attempt), \(entry.step), \(entry.position), \(entry.status.rawValue), \(entry.output),
                \(dialect.now))
            ON CONFLICT (migration_id, attempt, step) DO UPDATE
            SET position = excluded.position, status = excluded.status, output = excluded.output, changed_at = excluded.changed_at
            """)
    }

    private func claimOver(_ migration: MigrationID, _ epoch: Epoch, in transaction: any SQLTransaction) async throws -> StoreError {
        let rows = try await transaction.query("SELECT state, epoch, lease_owner FROM migrations WHERE id = \(migration.value)")
        guard let row = rows.first else { return Self.noMigration(migration.value) }
        let holder = try row.optionalText("lease_owner").map { "held by \($0)" } ?? "held by nobody"
        return StoreError(
            .superseded,
            "Migration \(migration) is \(try row.text("state")) under epoch \(try row.integer("epoch")), \(holder); the claim under epoch \(epoch) is over."
        )
    }
}
