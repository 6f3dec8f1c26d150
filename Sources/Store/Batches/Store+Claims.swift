import Failpoints
package import Fleet
import SQL

extension Store {
    /// Claims what is due and free or whose lease ended, each under a raised epoch of its server.
    ///
    /// First come those that something stands of already: whose lease ended, which their batch let begin before, which are to be ended.
    /// The places left go to those that wait, by priority; of the same priority by ``Shares`` between the batches, and within one in the
    /// order of its submit, past those whose hosts have no slots. What a batch and the cluster may have under way is asked in this
    /// transaction, with their rows held.
    package func claimMigrations(worker: String, leaseMS: Int64, limit: Int) async throws -> [Migration] {
        let limit = max(0, limit)
        let now = dialect.now
        // Most wake-ups find nothing: then nobody's write has to wait.
        let next = try await read { try await due("", in: $0) }
        guard let next, next <= 0, limit > 0 else { return [] }
        return try await write(.claim) { transaction in
            var ids = try await transaction.query(
                """
                SELECT id FROM migrations WHERE active = 1 AND lease_until <= \(now)
                ORDER BY lease_until, id LIMIT \(limit) \(dialect.lockFree)
                """
            ).map { try $0.text("id") }
            if ids.count < limit {
                ids += try await transaction.query(
                    """
                    SELECT id FROM migrations WHERE claimable = 1 AND (admitted = 1 OR cancel_requested = 1) AND due_at <= \(now)
                    ORDER BY due_at, id LIMIT \(limit - ids.count) \(dialect.lockFree)
                    """
                ).map { try $0.text("id") }
            }
            if ids.count < limit {
                let places = min(limit - ids.count, try await freePlaces(in: transaction) ?? .max)
                if places > 0 { ids += try await admit(places, in: transaction) }
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

    /// When the next thing becomes due that somebody could claim (a retry, a lease's end, a cleanup), milliseconds from the store's now; nil
    /// when nothing waits.
    package func nextDueInMS() async throws -> Int64? {
        let cleanups: SQLStatement = "UNION ALL SELECT MIN(due_at) FROM cleanups WHERE done_at IS NULL"
        return try await read { try await due(cleanups, in: $0).map { max(0, $0) } }
    }

    /// What waits in a batch that is paused, held or has all under way that it may is not due, nor what its hosts have no slots for, nor is
    /// anything that waits while the cluster has all that it may. A value of each index, not more.
    /// - Parameter more: a further `UNION ALL SELECT …`.
    private func due(_ more: SQLStatement, in transaction: any SQLTransaction) async throws -> Int64? {
        let row = try only(
            await transaction.query(
                """
                SELECT MIN(waiting.at) - \(dialect.now) AS due, CASE WHEN \(Self.clusterTakesMore) THEN 1 ELSE 0 END AS takes_more FROM (
                    SELECT MIN(lease_until) AS at FROM migrations WHERE active = 1
                    UNION ALL SELECT MIN(due_at) FROM migrations WHERE claimable = 1 AND (admitted = 1 OR cancel_requested = 1)
                    UNION ALL SELECT CASE WHEN \(Self.clusterTakesMore) THEN (
                        SELECT MIN(due_at) FROM migrations
                        WHERE claimable = 1 AND batch_id IS NULL AND admitted = 0 AND cancel_requested = 0) END
                    \(more)
                ) AS waiting
                """))
        let due = try row.optionalInteger("due")
        guard try row.flag("takes_more"), due.map({ $0 > 0 }) ?? true, let batch = try await batchDue(in: transaction) else { return due }
        return min(due ?? batch, batch)
    }

    private static let clusterTakesMore: SQLStatement = """
        NOT EXISTS (SELECT 1 FROM queue_limits q WHERE q.name = 'cluster'
            AND q.maximum <= (SELECT COUNT(*) FROM migrations a WHERE a.admitted = 1))
        """

    /// How many more may begin in the whole cluster; nil is as many as there are. Until the transaction's end nobody else lets one begin, and
    /// what ends meanwhile only makes room.
    private func freePlaces(in transaction: any SQLTransaction) async throws -> Int? {
        let rows = try await transaction.query(
            "SELECT maximum FROM queue_limits WHERE name = 'cluster' AND maximum IS NOT NULL \(dialect.lock)")
        guard let maximum = try rows.first?.integer("maximum") else { return nil }
        // Counted by a statement of its own: one that waited for the row still sees the moment in which it began to wait.
        let begun = try only(await transaction.query("SELECT COUNT(*) AS n FROM migrations WHERE admitted = 1")).integer("n")
        return max(0, Int(maximum - begun))
    }

    /// So many of those that wait and may begin, best first.
    private func admit(_ places: Int, in transaction: any SQLTransaction) async throws -> [String] {
        // The plus keeps the engine to the index that has the order: of the other one it would read and sort all that is due.
        let single = try await transaction.query(
            """
            SELECT id, priority FROM migrations
            WHERE claimable = 1 AND batch_id IS NULL AND admitted = 0 AND cancel_requested = 0 AND +due_at <= \(dialect.now)
            ORDER BY priority DESC, due_at, id LIMIT \(places) \(dialect.lockFree)
            """
        ).map { (id: try $0.text("id"), priority: try $0.integer("priority")) }
        let open: SQLStatement = "\(OpenBatch.takesMore) AND (start_at IS NULL OR start_at <= \(dialect.now))"
        let levels = try await transaction.query("SELECT DISTINCT priority FROM batches WHERE \(open)").map { try $0.integer("priority") }
        var admitted: [String] = []
        for level in Set(levels + single.map(\.priority)).sorted(by: >) where admitted.count < places {
            let left = places - admitted.count
            var streams: [Shares.Stream] = []
            var slots = HostSlots([:], unplaced: 0)
            let mine = single.filter { $0.priority == level }.map { Shares.Waiting(id: $0.id) }
            if !mine.isEmpty {
                let running = levels.isEmpty ? 0 : try await running(single: level, in: transaction)
                streams.append(Shares.Stream(batch: nil, running: running, waiting: mine))
            }
            if levels.contains(level) {
                // With the row held, so that nobody else lets something of the batch begin meanwhile.
                let batches = try await transaction.query(
                    """
                    SELECT \(OpenBatch.columns(dialect)), \(dialect.now) AS now FROM batches WHERE \(open) AND priority = \(level)
                    ORDER BY created_at, id \(dialect.lock)
                    """)
                // After that: what others let begin meanwhile has taken its slots.
                slots = try await hostSlots(in: transaction)
                for row in batches {
                    streams.append(
                        try await stream(of: OpenBatch(row), atMost: left, slots, at: row.integer("now"), in: transaction))
                }
            }
            for (batch, ids) in Shares.divide(left, among: streams, &slots) {
                admitted += try await admit(ids, of: batch, in: transaction)
            }
        }
        return admitted
    }

    private func running(single priority: Int64, in transaction: any SQLTransaction) async throws -> Int {
        let rows = try await transaction.query(
            "SELECT COUNT(*) AS n FROM migrations WHERE active = 1 AND batch_id IS NULL AND priority = \(priority)")
        return Int(try only(rows).integer("n"))
    }

    // MARK: counts

    /// Keeps the counts of a migration's batch, after its row was written, and holds the batch where it had all the failures it may.
    func count(_ migration: Migration, wasAdmitted: Bool, isAdmitted: Bool, in transaction: any SQLTransaction) async throws {
        guard let batch = migration.batch, wasAdmitted != isAdmitted || migration.state.isFinished else { return }
        let isCancelled = migration.state == .failed && migration.reason?.code == .cancelled
        try await count(
            batch, running: (isAdmitted ? 1 : 0) - (wasAdmitted ? 1 : 0), ready: migration.state == .ready ? 1 : 0,
            failed: migration.state == .failed && !isCancelled ? 1 : 0, cancelled: isCancelled ? 1 : 0, in: transaction)
    }

    func count(
        _ batch: BatchID, running: Int = 0, ready: Int = 0, failed: Int = 0, cancelled: Int = 0, in transaction: any SQLTransaction
    ) async throws {
        let ended = ready + failed + cancelled
        let isHeld: SQLStatement =
            "held_code IS NULL AND \(failed) > 0 AND failed + \(failed) >= hold_at AND ready + failed + cancelled + \(ended) < total"
        let message: SQLStatement =
            "CAST(failed + \(failed) AS TEXT) || ' of its migrations failed, and it may have ' || max_failures || ' failures.'"
        try await transaction.execute(
            """
            UPDATE batches SET running = running + \(running), ready = ready + \(ready), failed = failed + \(failed),
                cancelled = cancelled + \(cancelled),
                finished_at = CASE WHEN ready + failed + cancelled + \(ended) = total THEN \(dialect.now) END,
                held_message = CASE WHEN \(isHeld) THEN \(message) ELSE held_message END,
                held_code = CASE WHEN \(isHeld) THEN \(Reason.Code.tooManyFailures.value) ELSE held_code END
            WHERE id = \(batch.value)
            """)
    }
}
