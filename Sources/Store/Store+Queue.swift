import Failpoints
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
        try await write(.apply) { transaction in
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
        let held = try await transaction.query(
            "SELECT state, target_id, due_at, admitted FROM migrations WHERE \(mine) \(dialect.lock)")
        guard let row = held.first else { throw try await claimOver(migration.id, migration.epoch, in: transaction) }
        guard try change.history != nil || row.text("state") == migration.state.rawValue else {
            throw StoreError(
                .invalid,
                "Migration \(migration.id) cannot go from \(try row.text("state")) to \(migration.state.rawValue) without a row in the history."
            )
        }
        // The placement comes first: it rests on the reservation, and `ready` rests on it.
        if change.placement != nil || change.serverStatus != nil {
            let changed = try await transaction.execute(
                """
                UPDATE servers SET \(.list(try serverColumns(change)))
                WHERE id = \(migration.server.value) AND epoch = \(migration.epoch.value)
                """)
            guard changed == 1 else { throw try await claimOver(migration.id, migration.epoch, in: transaction) }
        }
        if change.release || change.reserve != nil {
            try await transaction.post("DELETE FROM reservations WHERE migration_id = \(migration.id.value)")
        }
        if let reservation = change.reserve { try await reserve(reservation, for: migration, in: transaction) }
        let notes = (change.history.map { [$0] } ?? []) + change.notes
        let more: SQLStatement = notes.isEmpty ? "" : ", \(dialect.historyTime) AS history_time, \(HistoryHead.returned)"
        let written = try only(
            await transaction.query(
                """
                UPDATE migrations SET \(.list(try columns(change, held: row))) WHERE \(mine)
                RETURNING \(Migration.columns), admitted\(more)
                """))
        let result = try Migration(written)
        try await count(result, wasAdmitted: row.flag("admitted"), isAdmitted: written.flag("admitted"), in: transaction)
        for entry in change.journal { try await write(entry, of: migration.id, in: transaction) }
        if !notes.isEmpty {
            try await record(
                notes, of: result, at: try written.time("history_time"), after: try HistoryHead(returned: written), in: transaction)
        }
        for cleanup in change.cleanups { try await insert(cleanup, in: transaction) }
        return result
    }

    /// What is written to the server's row. Columns that stay as they are are left out: indexes and triggers hang on some of them.
    private func serverColumns(_ change: MigrationChange) throws -> [SQLStatement] {
        // Held by nobody who lives: a controller takes it over at once.
        let isOperation = change.serverStatus?.isOperation ?? false
        var columns: [SQLStatement] = [
            "operation_owner = \(isOperation ? "migration \(change.migration.id)" : nil)",
            "operation_until = \(isOperation ? dialect.now : "NULL")",
        ]
        if let placement = change.placement { columns.append("host_id = \(placement.value)") }
        if let description = change.description { columns.append("description = \(try JSON.text(description))") }
        if let status = change.serverStatus {
            columns += [
                "status = \(status.rawValue)", "note_code = \(change.serverNote?.code.value)",
                "note_message = \(change.serverNote?.message)",
            ]
        }
        return columns
    }

    /// What is written to the migration's row, `held` as it was. Columns that stay as they are and that an index holds are left out: SQLite
    /// would take the row out of the index and put it in again.
    private func columns(_ change: MigrationChange, held row: SQLRow) throws -> [SQLStatement] {
        let migration = change.migration
        let progress = try migration.progress.map { try JSON.text($0) }
        let deadline: SQLStatement = if let left = change.deadlineInMS { "\(dialect.now) + \(left)" } else { "NULL" }
        var columns: [SQLStatement] = [
            "state = \(migration.state.rawValue)", "direction = \(migration.direction.rawValue)",
            "progress = CASE WHEN attempt = \(migration.attempt) THEN COALESCE(\(progress), progress) ELSE \(progress) END",
            "deadline_at = CASE WHEN attempt = \(migration.attempt) AND deadline_at IS NOT NULL THEN deadline_at ELSE \(deadline) END",
            "attempt = \(migration.attempt)", "max_attempts = \(migration.maxAttempts)", "excluded = \(try migration.excludedText)",
            "reason_code = \(migration.reason?.code.value)", "reason_message = \(migration.reason?.message)",
            "remedy = \(migration.remedy?.rawValue)", "awaiting = \(migration.awaiting)",
            "blackout = \(try migration.blackout.map { try JSON.text($0) })",
        ]
        if try row.optionalText("target_id") != migration.target?.value { columns.append("target_id = \(migration.target?.value)") }
        if let delay = change.dueInMS {
            columns.append("due_at = \(dialect.now) + \(delay)")
        } else if try row.integer("due_at") != migration.dueAt.milliseconds {
            columns.append("due_at = \(migration.dueAt.milliseconds)")
        }
        if migration.state.isFinished { columns.append("finished_at = \(dialect.now)") }
        if change.releaseLease || migration.state.isFinished {
            columns += ["claimable = \(!migration.state.isFinished)", "active = 0", "lease_owner = NULL", "lease_until = NULL"]
        }
        // It gives back its place in its batch and in the cluster when it is over, or waits and holds nothing on any host.
        if migration.state.isFinished {
            columns.append("admitted = 0")
        } else if change.releaseLease, migration.direction == .forward {
            let holds: SQLStatement = "EXISTS (SELECT 1 FROM reservations r WHERE r.migration_id = migrations.id)"
            columns.append("admitted = CASE WHEN \(holds) THEN admitted ELSE 0 END")
        }
        return columns
    }

    private func write(_ entry: JournalEntry, of migration: MigrationID, in transaction: any SQLTransaction) async throws {
        try await transaction.post(
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
