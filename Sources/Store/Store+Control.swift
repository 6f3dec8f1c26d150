import Failpoints
package import Fleet
import SQL

/// What others than its worker may do to a migration under way.
package struct MigrationControl: Hashable, Sendable {
    package var isCancelRequested: Bool
    package var options: MigrationOptions
    /// Milliseconds until the completion deadline, by the store's clock; negative once it has passed, nil while there is none.
    package var deadlineInMS: Int64?
}

extension Store {
    /// Asks for a migration to end, and writes who did into the history.
    ///
    /// Whoever holds it sees that within a second. One of which nothing stands anywhere, because nobody has claimed it yet or because it
    /// only waits for its next try, ends in this very transaction, and its server is what it was. Any other one is due at once.
    /// Returns the row as it is now; a finished one, and one asked for before, is unchanged. Throws `notFound`.
    package func requestCancel(_ migration: MigrationID, actor: String) async throws -> Migration {
        try await write(.requestCancel) { try await requestCancel(migration, actor: actor, in: $0) }
    }

    func requestCancel(_ migration: MigrationID, actor: String, in transaction: any SQLTransaction) async throws -> Migration {
        let before = try await lockedMigration(migration, in: transaction)
        if before.state.isFinished || before.cancelRequested { return before }
        if try await standsNowhere(before, in: transaction) { return try await endCancelled(before, actor: actor, in: transaction) }
        let rows = try await transaction.query(
            """
            UPDATE migrations SET cancel_requested = 1, due_at = CASE WHEN claimable = 1 THEN \(dialect.now) ELSE due_at END
            WHERE id = \(migration.value) RETURNING \(Migration.columns)
            """)
        let row = try Migration(only(rows))
        try await record(
            MigrationChange.HistoryNote(
                from: row.state, actor: actor, reason: Reason(.cancelRequested, "\(actor) asked for the migration to end.")),
            of: row, in: transaction)
        return row
    }

    /// Changes what a migration under way may take, from now on: with a history row that says from what to what, by whom.
    ///
    /// A lower bandwidth puts off a completion deadline that nobody asked for; a higher one leaves it.
    /// Returns the row as it is now. Throws `notFound`, `wrongStatus` for one that is finished and for what its mode does not have, see ``MigrationParameters/flaw(for:)``.
    package func setParameters(of migration: MigrationID, _ parameters: MigrationParameters, actor: String) async throws -> Migration {
        try await write { transaction in
            let before = try await lockedMigration(migration, in: transaction)
            guard !before.state.isFinished else {
                throw StoreError(
                    .wrongStatus, "Migration \(migration) is \(before.state.rawValue); only one under way takes other parameters.")
            }
            if let flaw = parameters.flaw(for: before.mode) { throw StoreError(.wrongStatus, flaw) }
            if parameters.confirmHostDown { try await requireSourceAwaited(before, in: transaction) }
            var options = before.options
            let changes = parameters.apply(to: &options)
            guard !changes.isEmpty else { return before }
            let delayMS = try await deadlineDelayMS(before, options, in: transaction)
            let rows = try await transaction.query(
                """
                UPDATE migrations SET options = \(try JSON.text(options)), deadline_at = deadline_at + \(delayMS)
                WHERE id = \(migration.value) RETURNING \(Migration.columns)
                """)
            let row = try Migration(only(rows))
            var numbers = ["downtimeLimitMS": options.downtimeLimitMS]
            numbers["maxBandwidthMB"] = options.maxBandwidthMB ?? 0
            if delayMS > 0 { numbers["deadlineDelayMS"] = delayMS }
            try await record(
                MigrationChange.HistoryNote(
                    from: row.state, actor: actor, reason: Reason(.parametersSet, changes.joined(separator: "; ")), numbers: numbers),
                of: row, in: transaction)
            return row
        }
    }

    /// What others have asked for meanwhile; nil when the migration is not held under this epoch any more.
    package func control(of migration: MigrationID, epoch: Epoch) async throws -> MigrationControl? {
        try await read { transaction in
            let rows = try await transaction.query(
                """
                SELECT cancel_requested, options, deadline_at - \(dialect.now) AS deadline FROM migrations
                WHERE id = \(migration.value) AND epoch = \(epoch.value) AND active = 1
                """)
            return try rows.first.map { row in
                MigrationControl(
                    isCancelRequested: try row.flag("cancel_requested"),
                    options: try JSON.options(try row.text("options")),
                    deadlineInMS: try row.optionalInteger("deadline"))
            }
        }
    }

    // MARK: parts

    /// That the source is off changes something only for a post-copy that waits for it, and for a server that has no disk on it.
    private func requireSourceAwaited(_ migration: Migration, in transaction: any SQLTransaction) async throws {
        let what = "migration \(migration.id) is in \(migration.state.rawValue)"
        guard migration.awaiting != nil, migration.target != nil else {
            throw StoreError(
                .wrongStatus,
                "confirm_host_down has a meaning only for a migration that waits for its source: \(what) and waits for nothing.")
        }
        if migration.state == .switching, migration.options.postCopy { return }
        let local = try await transaction.query(
            """
            SELECT d.storage FROM server_disks d WHERE d.server_id = \(migration.server.value) AND NOT EXISTS (
                SELECT 1 FROM storages s WHERE s.host_id = \(migration.source.value) AND s.name = d.storage
                    AND s.kind = \(Storage.Kind.shared.rawValue)) ORDER BY d.storage LIMIT 1
            """
        ).first
        if let local {
            throw StoreError(
                .wrongStatus,
                "confirm_host_down would give the server's disk on storage \(try local.text("storage")) up, which is its source's own: \(what), and waits for that host."
            )
        }
    }

    private func lockedMigration(_ migration: MigrationID, in transaction: any SQLTransaction) async throws -> Migration {
        let rows = try await transaction.query(
            "SELECT \(Migration.columns) FROM migrations WHERE id = \(migration.value) \(dialect.lock)")
        guard let row = rows.first else { throw Self.noMigration(migration.value) }
        return try Migration(row)
    }

    /// Nobody holds it, and no step of its attempt has left anything on a host.
    private func standsNowhere(_ migration: Migration, in transaction: any SQLTransaction) async throws -> Bool {
        guard migration.direction == .forward, migration.state == .pending || migration.state == .scheduling,
            migration.statusBefore != nil
        else { return false }
        let rows = try await transaction.query(
            """
            SELECT 1 AS found FROM migrations m WHERE m.id = \(migration.id.value) AND m.claimable = 1 AND NOT EXISTS (
                SELECT 1 FROM steps s WHERE s.migration_id = m.id AND s.attempt = m.attempt
                    AND s.status IN (\(list: [JournalEntry.Status.started.rawValue, JournalEntry.Status.done.rawValue])))
            """)
        return !rows.isEmpty
    }

    private func endCancelled(_ migration: Migration, actor: String, in transaction: any SQLTransaction) async throws -> Migration {
        let reason = Self.cancelledEarly(actor)
        let wasAdmitted = try only(
            await transaction.query("SELECT admitted FROM migrations WHERE id = \(migration.id.value)")
        ).flag("admitted")
        try await transaction.execute(
            """
            UPDATE servers SET status = \(migration.statusBefore?.rawValue), note_code = NULL, note_message = NULL
            WHERE id = \(migration.server.value) AND status IN (\(list: Self.movingStatuses))
            """)
        let rows = try await transaction.query(
            """
            UPDATE migrations SET cancel_requested = 1, state = \(MigrationState.failed.rawValue), target_id = NULL, deadline_at = NULL,
                reason_code = \(reason.code.value), reason_message = \(reason.message), remedy = \(Fault.Remedy.none.rawValue),
                awaiting = NULL, claimable = 0, admitted = 0, finished_at = \(dialect.now)
            WHERE id = \(migration.id.value) RETURNING \(Migration.columns)
            """)
        let row = try Migration(only(rows))
        try await count(row, wasAdmitted: wasAdmitted, isAdmitted: false, in: transaction)
        try await record(MigrationChange.HistoryNote(from: migration.state, actor: actor, reason: reason), of: row, in: transaction)
        return row
    }

    static func cancelledEarly(_ actor: String) -> Reason {
        Reason(.cancelled, "\(actor) cancelled the migration before anything of it stood on any host.")
    }

    static let movingStatuses = [ServerStatus.startMigrate, .migrating, .liveMigrating].map(\.rawValue)

    /// How much later the attempt's deadline is for other options.
    private func deadlineDelayMS(
        _ migration: Migration, _ options: MigrationOptions, in transaction: any SQLTransaction
    ) async throws -> Int64 {
        guard migration.deadlineAt != nil else { return 0 }
        let rows = try await transaction.query("SELECT description FROM servers WHERE id = \(migration.server.value)")
        guard let row = rows.first else { return 0 }
        let description = try JSON.description(try row.text("description"))
        let bytes = CompletionDeadline.bytes(of: description, mode: migration.mode)
        let more =
            CompletionDeadline.seconds(for: options, bytes: bytes) - CompletionDeadline.seconds(for: migration.options, bytes: bytes)
        return max(0, more) * 1000
    }
}
