import Failpoints
package import Fleet
import SQL

extension Store {
    /// Cleanups that are due and held by nobody, now held by this worker for `leaseMS`.
    package func claimCleanups(worker: String, leaseMS: Int64, limit: Int) async throws -> [Cleanup] {
        let due: SQLStatement = """
            SELECT id FROM cleanups WHERE done_at IS NULL AND due_at <= \(dialect.now) ORDER BY due_at, id LIMIT \(max(0, limit))
            """
        guard try await read({ try await !$0.query(due).isEmpty }) else { return [] }
        return try await write(.claimCleanup) { transaction in
            let ids = try await transaction.query("\(due) \(dialect.lockFree)").map { try $0.text("id") }
            // Not due again before the lease ends: nobody else takes it meanwhile.
            return try await transaction.query(
                """
                UPDATE cleanups SET lease_owner = \(worker), due_at = \(dialect.now) + \(leaseMS)
                WHERE id IN (\(list: ids)) RETURNING \(Cleanup.columns)
                """
            ).map(Cleanup.init)
        }
    }

    /// It is done, now or before.
    ///
    /// - Parameter note: What the migration's history is to tell of it: written once, also to a history that ended long ago.
    package func finishCleanup(_ id: String, note: MigrationChange.HistoryNote? = nil) async throws {
        try await write(.finishCleanup) { transaction in
            let done = try await transaction.query(
                """
                UPDATE cleanups SET done_at = \(dialect.now), lease_owner = NULL WHERE id = \(id) AND done_at IS NULL
                RETURNING migration_id
                """)
            guard let note, let row = done.first else { return }
            let migration = try await transaction.query(
                "SELECT \(Migration.columns) FROM migrations WHERE id = \(try row.text("migration_id")) \(dialect.lock)"
            ).first.map(Migration.init)
            if let migration { try await record(note, of: migration, in: transaction) }
        }
    }

    /// It could not be done now; again after `delayMS`.
    package func postponeCleanup(_ id: String, error: String, delayMS: Int64) async throws {
        try await write { transaction in
            try await transaction.execute(
                """
                UPDATE cleanups SET tries = tries + 1, last_error = \(error), due_at = \(dialect.now) + \(delayMS), lease_owner = NULL
                WHERE id = \(id) AND done_at IS NULL
                """)
        }
    }

    /// Those still to be done, the next one first.
    package func cleanups() async throws -> [Cleanup] {
        try await read { transaction in
            try await transaction.query("SELECT \(Cleanup.columns) FROM cleanups WHERE done_at IS NULL ORDER BY due_at, id").map(
                Cleanup.init)
        }
    }

    func insert(_ cleanup: Cleanup, in transaction: any SQLTransaction) async throws {
        // The writer's clock tells how much later it is due, the store's tells from when.
        let delayMS = max(0, cleanup.dueAt - .now)
        try await transaction.post(
            """
            INSERT INTO cleanups (id, kind, migration_id, server_id, host_id, attempt, epoch, tries, last_error, due_at, created_at)
            VALUES (\(cleanup.id), \(cleanup.kind.rawValue), \(cleanup.migration.value), \(cleanup.server.value), \(cleanup.host.value),
                \(cleanup.attempt), \(cleanup.epoch.value), \(cleanup.tries), \(cleanup.lastError),
                \(dialect.now) + \(delayMS), \(dialect.now))
            ON CONFLICT (id) DO NOTHING
            """)
    }
}
