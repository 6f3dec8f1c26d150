package import Fleet
import SQL

extension Store {
    /// Claims what is due and free or whose lease ended, best first (oldest), each under a raised epoch of its server.
    ///
    /// Those whose lease ended come first: their servers may stand still meanwhile.
    package func claimMigrations(worker: String, leaseMS: Int64, limit: Int) async throws -> [Migration] {
        let limit = max(0, limit)
        let now = dialect.now
        // Most wake-ups find nothing: then nobody's write has to wait.
        let isAny = try await read { transaction in
            try await transaction.query(
                """
                SELECT CASE WHEN EXISTS (SELECT 1 FROM migrations WHERE claimable = 1 AND due_at <= \(now))
                    OR EXISTS (SELECT 1 FROM migrations WHERE active = 1 AND lease_until <= \(now)) THEN 1 ELSE 0 END AS found
                """
            ).first?.flag("found") == true
        }
        guard isAny, limit > 0 else { return [] }
        return try await write { transaction in
            var ids = try await transaction.query(
                """
                SELECT id FROM migrations WHERE active = 1 AND lease_until <= \(now)
                ORDER BY lease_until, id LIMIT \(limit) \(dialect.lockFree)
                """
            ).map { try $0.text("id") }
            if ids.count < limit {
                // The plus keeps the engine to the index that has the order: of the other one it would read and sort all that is due.
                ids += try await transaction.query(
                    """
                    SELECT id FROM migrations WHERE claimable = 1 AND +due_at <= \(now)
                    ORDER BY priority DESC, due_at, id LIMIT \(limit - ids.count) \(dialect.lockFree)
                    """
                ).map { try $0.text("id") }
            }
            guard !ids.isEmpty else { return [] }
            try await transaction.execute(
                "UPDATE servers SET epoch = epoch + 1 WHERE id IN (SELECT server_id FROM migrations WHERE id IN (\(list: ids)))")
            let rows = try await transaction.query(
                """
                UPDATE migrations SET epoch = (SELECT s.epoch FROM servers s WHERE s.id = migrations.server_id),
                    claimable = 0, active = 1, lease_owner = \(worker), lease_until = \(now) + \(leaseMS)
                WHERE id IN (\(list: ids)) RETURNING \(Migration.columns)
                """)
            let place = Dictionary(uniqueKeysWithValues: ids.enumerated().map { ($0.element, $0.offset) })
            return try rows.map(Migration.init).sorted { (place[$0.id.value] ?? 0) < (place[$1.id.value] ?? 0) }
        }
    }

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

    /// When the next thing becomes due (a retry, a lease's end, a cleanup), milliseconds from the store's now; nil when nothing waits.
    package func nextDueInMS() async throws -> Int64? {
        try await read { transaction in
            let rows = try await transaction.query(
                """
                SELECT MIN(waiting.at) - \(dialect.now) AS due FROM (
                    SELECT MIN(due_at) AS at FROM migrations WHERE claimable = 1
                    UNION ALL SELECT MIN(lease_until) FROM migrations WHERE active = 1
                    UNION ALL SELECT MIN(due_at) FROM cleanups WHERE done_at IS NULL
                ) AS waiting
                """)
            return try rows.first?.optionalInteger("due").map { max(0, $0) }
        }
    }

    // MARK: the parts of a change

    private func apply(_ change: MigrationChange, worker: String, in transaction: any SQLTransaction) async throws -> Migration {
        let migration = change.migration
        let mine: SQLStatement =
            "id = \(migration.id.value) AND epoch = \(migration.epoch.value) AND lease_owner = \(worker) AND active = 1"
        let held = try await transaction.query("SELECT state FROM migrations WHERE \(mine) \(dialect.lock)")
        guard let row = held.first else { throw try await claimOver(migration.id, migration.epoch, in: transaction) }
        guard try change.history != nil || row.text("state") == migration.state.rawValue else {
            throw StoreError(
                .invalid,
                "Migration \(migration.id) cannot go from \(try row.text("state")) to \(migration.state.rawValue) without a row in the history."
            )
        }
        // The placement comes first: it rests on the reservation, and `ready` rests on it.
        if change.placement != nil || change.serverStatus != nil {
            // An operation is nobody's from its first moment on, so that whoever sees operations through takes it over at once.
            let isOperation = change.serverStatus?.isOperation ?? false
            let changed = try await transaction.execute(
                """
                UPDATE servers SET host_id = COALESCE(\(change.placement?.value), host_id),
                    status = COALESCE(\(change.serverStatus?.rawValue), status),
                    operation_owner = CASE WHEN \(isOperation) = 1 THEN \(worker) ELSE operation_owner END,
                    operation_until = CASE WHEN \(isOperation) = 1 THEN \(dialect.now) ELSE operation_until END,
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
                lease_until = CASE WHEN \(isReleased) = 1 THEN NULL ELSE lease_until END
            WHERE \(mine) RETURNING \(Migration.columns)
            """)
        let result = try Migration(only(written))
        for entry in change.journal { try await write(entry, of: migration.id, in: transaction) }
        if let note = change.history { try await record(note, of: result, in: transaction) }
        for note in change.notes { try await record(note, of: result, in: transaction) }
        for cleanup in change.cleanups { try await insert(cleanup, in: transaction) }
        return result
    }

    private func reserve(_ reservation: Reservation, for migration: Migration, in transaction: any SQLTransaction) async throws {
        guard reservation.migration == migration.id else {
            throw StoreError(.invalid, "Migration \(migration.id) cannot reserve for migration \(reservation.migration).")
        }
        try await requireRoom(on: reservation.host, vcpus: reservation.vcpus, memoryBytes: reservation.memoryBytes, in: transaction)
        try await transaction.execute(
            """
            INSERT INTO reservations (migration_id, host_id, vcpus, memory, created_at)
            VALUES (\(migration.id.value), \(reservation.host.value), \(reservation.vcpus), \(reservation.memoryBytes), \(dialect.now))
            """)
        for (storage, bytes) in reservation.storageBytes.sorted(by: { $0.key < $1.key }) {
            let room = try await transaction.query(
                "SELECT bytes FROM storage_rooms WHERE host_id = \(reservation.host.value) AND name = \(storage)"
            ).first?.integer("bytes")
            guard let room, room >= bytes else {
                let left = room.map { "has \(max(0, $0)) bytes left to promise" } ?? "is not there"
                throw StoreError(.overbooked, "Storage \(storage) of host \(reservation.host) \(left); \(bytes) bytes are needed.")
            }
            try await transaction.execute(
                """
                INSERT INTO reserved_storages (migration_id, host_id, storage, bytes)
                VALUES (\(migration.id.value), \(reservation.host.value), \(storage), \(bytes))
                """)
        }
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
