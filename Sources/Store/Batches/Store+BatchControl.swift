package import Fleet
import Foundation
import SQL

extension Store {
    /// Has a batch begin nothing more; what is under way goes on. Again it changes nothing. Throws `notFound`, `wrongStatus`.
    package func pauseBatch(_ batch: BatchID, actor: String) async throws -> Batch {
        try await write { transaction in
            let before = try await lockedBatch(batch, in: transaction)
            try Self.requireOpen(before, to: "be paused")
            return try await Batch(
                only(
                    transaction.query(
                        """
                        UPDATE batches SET paused_by = COALESCE(paused_by, \(actor)) WHERE id = \(batch.value) RETURNING \(Batch.columns)
                        """)))
        }
    }

    /// Lets a batch go on that somebody paused, or that was held for its failures: these are forgiven, and it is held again only after as many
    /// more. Throws `notFound`, `wrongStatus`.
    package func resumeBatch(_ batch: BatchID) async throws -> Batch {
        try await write { transaction in
            let before = try await lockedBatch(batch, in: transaction)
            try Self.requireOpen(before, to: "go on")
            let allowed = before.maxFailures?.failures(of: before.total)
            return try await Batch(
                only(
                    transaction.query(
                        """
                        UPDATE batches SET paused_by = NULL, hold_at = CASE WHEN held_code IS NULL THEN hold_at ELSE failed + \(allowed) END,
                            held_code = NULL, held_message = NULL
                        WHERE id = \(batch.value) RETURNING \(Batch.columns)
                        """)))
        }
    }

    /// Asks for the end of all that is unfinished of a batch: what has not begun is over in this very transaction, what is under way as after
    /// ``requestCancel(_:actor:)``. Again it changes nothing. Throws `notFound`, `wrongStatus`.
    package func cancelBatch(_ batch: BatchID, actor: String) async throws -> Batch {
        try await write { transaction in
            if let lock = dialect.lockAll {
                // Before the batch's row, as all others take them who write both.
                _ = try await transaction.query(
                    """
                    SELECT COUNT(*) AS n FROM (
                        SELECT id FROM migrations WHERE batch_id = \(batch.value) AND finished_at IS NULL ORDER BY id \(lock)) AS held
                    """)
            }
            let before = try await lockedBatch(batch, in: transaction)
            if before.cancelRequested { return before }
            try Self.requireOpen(before, to: "be cancelled")
            try await transaction.execute("UPDATE batches SET cancel_requested = 1 WHERE id = \(batch.value)")
            try await endUnbegun(batch, actor: actor, in: transaction)
            let begun = try await transaction.query(
                "SELECT id FROM migrations WHERE batch_id = \(batch.value) AND finished_at IS NULL AND cancel_requested = 0 ORDER BY id")
            for row in begun {
                _ = try await requestCancel(MigrationID(try row.text("id")), actor: actor, in: transaction)
            }
            return try await lockedBatch(batch, in: transaction)
        }
    }

    /// Those that failed in a batch, for another reason than a cancellation, and in no newer migration since: what a retry takes.
    package func failedServers(of batch: BatchID) async throws -> [ServerID] {
        try await read { transaction in
            try await transaction.query(
                """
                SELECT m.server_id FROM migrations m
                WHERE m.batch_id = \(batch.value) AND m.finished_at IS NOT NULL AND m.reason_code IS NOT NULL
                    AND m.state = \(MigrationState.failed.rawValue) AND m.reason_code <> \(Reason.Code.cancelled.value)
                    AND NOT EXISTS (SELECT 1 FROM migrations n WHERE n.server_id = m.server_id AND n.id > m.id)
                ORDER BY m.id
                """
            ).map { ServerID(try $0.text("server_id")) }
        }
    }

    /// A submit like that of a batch, of those of its servers that failed (``failedServers(of:)``), under the next free name.
    package func retryDraft(of batch: Batch, actor: String, token: String?, skipsInvalid: Bool) async throws -> BatchDraft {
        let row = try await read { transaction in
            try only(
                await transaction.query(
                    "SELECT live_options, cold_options, max_attempts FROM batches WHERE id = \(batch.id.value)"))
        }
        let stem = batch.name.range(of: "-retry").map { String(batch.name[..<$0.lowerBound]) } ?? batch.name
        let beginning = stem + "-retry"
        let older = try await read { transaction in
            try only(
                await transaction.query(
                    "SELECT COUNT(*) AS n FROM batches WHERE name >= \(beginning) AND name < \(beginning + "~")")
            ).integer("n")
        }
        return BatchDraft(
            name: "\(beginning)\(older + 1)", actor: actor, token: token, digest: "retry of \(batch.id)",
            servers: try await failedServers(of: batch.id).map(\.value), mode: batch.mode,
            liveOptions: try JSON.value(MigrationOptions.self, try row.text("live_options")),
            coldOptions: try JSON.value(MigrationOptions.self, try row.text("cold_options")),
            maxAttempts: Int(try row.integer("max_attempts")), priority: batch.priority, maxParallel: batch.maxParallel,
            maxFailures: batch.maxFailures, skipsInvalid: skipsInvalid, retryOf: batch.id)
    }

    /// The batch that a token brought, and what it was used for.
    package func batch(token: String) async throws -> (batch: Batch, digest: String)? {
        try await read { transaction in
            let rows = try await transaction.query("SELECT \(Batch.columns), digest FROM batches WHERE token = \(token)")
            return try rows.first.map { (try Batch($0), try $0.text("digest")) }
        }
    }

    // MARK: parts

    /// All of a batch that nobody has ever claimed, told apart from what ended before by the time of its end. The rows of all that is
    /// unfinished of the batch are locked.
    private func endUnbegun(_ batch: BatchID, actor: String, in transaction: any SQLTransaction) async throws {
        let reason = Self.cancelledEarly(actor)
        let unbegun: SQLStatement = """
            batch_id = \(batch.value) AND claimable = 1 AND admitted = 0 AND cancel_requested = 0 AND attempt = 0
                AND state = \(MigrationState.pending.rawValue)
                AND NOT EXISTS (SELECT 1 FROM steps WHERE steps.migration_id = migrations.id)
            """
        try await transaction.execute(
            """
            UPDATE servers SET note_code = NULL, note_message = NULL,
                status = (SELECT m.status_before FROM migrations m WHERE m.server_id = servers.id AND m.finished_at IS NULL)
            WHERE status IN (\(list: Self.movingStatuses)) AND id IN (SELECT server_id FROM migrations WHERE \(unbegun))
            """)
        let end = try only(
            await transaction.query(
                """
                SELECT \(dialect.now) AS now, MAX(finished_at) AS last FROM migrations
                WHERE batch_id = \(batch.value) AND finished_at IS NOT NULL
                """))
        let now = max(try end.integer("now"), (try end.optionalInteger("last") ?? 0) + 1)
        let number = try await transaction.execute(
            """
            UPDATE migrations SET cancel_requested = 1, state = \(MigrationState.failed.rawValue), reason_code = \(reason.code.value),
                reason_message = \(reason.message), remedy = \(Fault.Remedy.none.rawValue), claimable = 0, finished_at = \(now)
            WHERE \(unbegun)
            """)
        guard number > 0 else { return }
        try await record(
            MigrationChange.HistoryNote(from: .pending, actor: actor, reason: reason), ofAllIn: batch, where: "finished_at = \(now)",
            in: transaction)
        try await count(batch, cancelled: number, in: transaction)
    }

    private func lockedBatch(_ batch: BatchID, in transaction: any SQLTransaction) async throws -> Batch {
        let rows = try await transaction.query("SELECT \(Batch.columns) FROM batches WHERE id = \(batch.value) \(dialect.lock)")
        guard let row = rows.first else { throw Self.noBatch(batch.value) }
        return try Batch(row)
    }

    private static func requireOpen(_ batch: Batch, to what: String) throws {
        if batch.finishedAt != nil {
            throw StoreError(.wrongStatus, "Batch \(batch.name) is over; it cannot \(what).")
        }
        if batch.cancelRequested {
            throw StoreError(.wrongStatus, "Batch \(batch.name) is being cancelled; it cannot \(what).")
        }
    }
}
