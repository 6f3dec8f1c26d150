package import Fleet
import SQL

extension Store {
    package func queueState() async throws -> QueueState {
        try await read { try await queueState(in: $0) }
    }

    /// Sets how many migrations may be under way at once in the whole cluster, single ones and those of batches together; nil takes the limit
    /// away. It holds for what begins from now on: what is under way goes on, also where it is more.
    package func setQueueLimit(_ maxParallel: Int?, actor: String) async throws -> QueueState {
        try await write { transaction in
            try await transaction.execute(
                """
                INSERT INTO queue_limits (name, maximum, changed_by, changed_at)
                VALUES ('cluster', \(maxParallel), \(actor), \(dialect.now))
                ON CONFLICT (name) DO UPDATE SET maximum = excluded.maximum, changed_by = excluded.changed_by,
                    changed_at = excluded.changed_at
                """)
            return try await queueState(in: transaction)
        }
    }

    private func queueState(in transaction: any SQLTransaction) async throws -> QueueState {
        let row = try only(
            await transaction.query(
                """
                SELECT (SELECT COUNT(*) FROM migrations WHERE admitted = 1) AS running,
                    (SELECT COUNT(*) FROM migrations WHERE claimable = 1 AND admitted = 0 AND cancel_requested = 0) AS waiting
                """))
        let limit = try await transaction.query("SELECT maximum, changed_by, changed_at FROM queue_limits WHERE name = 'cluster'").first
        return QueueState(
            maxParallel: try limit?.optionalInteger("maximum").map { Int($0) }, running: Int(try row.integer("running")),
            waiting: Int(try row.integer("waiting")), changedBy: try limit?.text("changed_by"), changedAt: try limit?.time("changed_at"))
    }
}
