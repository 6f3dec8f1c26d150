package import Fleet
import SQL

extension Store {
    /// What the store says of the whole fleet at one moment.
    /// - Parameter finished: migrations of which also those that are finished are wanted.
    package func books(finished: Set<MigrationID> = []) async throws -> StoreBooks {
        try await read { transaction in
            var books = StoreBooks(now: try only(await transaction.query("SELECT \(dialect.now) AS now")).time("now"))
            books.hosts = try await transaction.query("SELECT \(Host.columns) FROM hosts ORDER BY name").map(Host.init)
            books.servers = try await transaction.query("SELECT \(Server.columns) FROM servers ORDER BY name").map(Server.init)
            books.migrations = try await transaction.query(
                "SELECT \(Migration.columns) FROM migrations WHERE finished_at IS NULL ORDER BY id"
            ).map(Migration.init)
            for row in try await transaction.query("SELECT id, lease_owner, lease_until FROM migrations WHERE active = 1") {
                books.leases[MigrationID(try row.text("id"))] = StoreBooks.Lease(
                    owner: try row.text("lease_owner"), until: try row.time("lease_until"))
            }
            for row in try await transaction.query(
                """
                SELECT t.migration_id, MAX(t.at) AS last FROM transitions t JOIN migrations m ON m.id = t.migration_id
                WHERE m.finished_at IS NULL AND m.awaiting IS NOT NULL GROUP BY t.migration_id
                """)
            { books.lastChanges[MigrationID(try row.text("migration_id"))] = try row.time("last") }
            books.cleanups = try await transaction.query(
                "SELECT \(Cleanup.columns) FROM cleanups WHERE done_at IS NULL ORDER BY due_at, id"
            ).map(Cleanup.init)
            for row in try await transaction.query(
                """
                SELECT r.migration_id, r.host_id FROM reservations r LEFT JOIN migrations m ON m.id = r.migration_id
                WHERE m.id IS NULL OR m.finished_at IS NOT NULL
                """)
            { books.leaked[MigrationID(try row.text("migration_id"))] = HostID(try row.text("host_id")) }
            // A few at a time: an engine takes only so many values in one statement.
            let wanted = finished.map(\.value).sorted()
            for start in stride(from: 0, to: wanted.count, by: 500) {
                let some = Array(wanted[start..<min(start + 500, wanted.count)])
                for row in try await transaction.query(
                    "SELECT \(Migration.columns) FROM migrations WHERE finished_at IS NOT NULL AND id IN (\(list: some))")
                {
                    let migration = try Migration(row)
                    books.finished[migration.id] = migration
                }
            }
            return books
        }
    }

    /// Has what an attempt of a finished migration left on a host removed, as if the migration itself had left that to be done; its history
    /// tells who asked.
    /// - Returns: false where that is to be done already, or where the migration is not finished.
    package func orderCleanup(_ cleanup: Cleanup, actor: String, why: String) async throws -> Bool {
        try await write { transaction in
            let rows = try await transaction.query(
                "SELECT \(Migration.columns) FROM migrations WHERE id = \(cleanup.migration.value) AND finished_at IS NOT NULL \(dialect.lock)"
            )
            guard let migration = try rows.first.map(Migration.init) else { return false }
            let open = try await transaction.query(
                """
                SELECT id FROM cleanups WHERE done_at IS NULL AND migration_id = \(cleanup.migration.value)
                    AND host_id = \(cleanup.host.value) AND kind = \(cleanup.kind.rawValue) AND attempt = \(cleanup.attempt)
                """)
            guard open.isEmpty else { return false }
            try await insert(cleanup, in: transaction)
            try await note(.cleanupOrdered, why, of: migration, actor: actor, in: transaction)
            return true
        }
    }

    /// Lets go of what a finished migration still held on its target.
    package func releaseLeaked(_ id: MigrationID, actor: String, why: String) async throws -> Bool {
        try await write { transaction in
            let rows = try await transaction.query(
                "SELECT \(Migration.columns) FROM migrations WHERE id = \(id.value) \(dialect.lock)")
            let migration = try rows.first.map(Migration.init)
            guard migration?.finishedAt != nil || migration == nil else { return false }
            let gone = try await transaction.query(
                "DELETE FROM reservations WHERE migration_id = \(id.value) RETURNING migration_id")
            guard !gone.isEmpty else { return false }
            if let migration { try await note(.cleanupOrdered, why, of: migration, actor: actor, in: transaction) }
            return true
        }
    }

    /// Tells in a finished migration's history what somebody had done about what it left.
    package func noteRepair(_ id: MigrationID, actor: String, why: String) async throws {
        try await write { transaction in
            let rows = try await transaction.query("SELECT \(Migration.columns) FROM migrations WHERE id = \(id.value) \(dialect.lock)")
            guard let migration = try rows.first.map(Migration.init) else { return }
            try await note(.cleanupOrdered, why, of: migration, actor: actor, in: transaction)
        }
    }

    private func note(
        _ code: Reason.Code, _ why: String, of migration: Migration, actor: String, in transaction: any SQLTransaction
    ) async throws {
        try await record(
            MigrationChange.HistoryNote(from: migration.state, actor: actor, step: "doctor", reason: Reason(code, why)), of: migration,
            in: transaction)
    }
}
