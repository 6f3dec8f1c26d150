package import Fleet
import SQL

/// How far a batch is, counted by the states of its migrations.
package struct BatchCounts: Hashable, Sendable {
    /// Of the states that any is in.
    package var states: [MigrationState: Int]
    /// Of those that failed.
    package var reasons: [Reason.Code: Int]
    /// Milliseconds until the last is over, at the speed of late; nil while nothing can be told.
    package var etaMS: Int64?
}

extension Store {
    /// Newest first, at most so many.
    /// - Parameter unfinished: only those that are not over.
    package func batches(unfinished: Bool = false, limit: Int = 1000) async throws -> [Batch] {
        let condition: SQLStatement = unfinished ? "finished_at IS NULL" : "1 = 1"
        return try await read { transaction in
            try await transaction.query(
                "SELECT \(Batch.columns) FROM batches WHERE \(condition) ORDER BY created_at DESC, id LIMIT \(max(0, limit))"
            ).map(Batch.init)
        }
    }

    /// By id, unique name, or unique beginning of an id. Throws `notFound`, and `ambiguous` with the candidates.
    package func batch(_ reference: String) async throws -> Batch {
        let lower = reference.lowercased()
        let beginning: SQLStatement = Self.isBeginning(lower) && lower.count >= Self.shortestBeginning ? Self.range(lower) : "1 = 0"
        let rows = try await read { transaction in
            try await transaction.query(
                """
                SELECT \(Batch.columns) FROM batches WHERE id = \(reference) OR name = \(reference) OR \(beginning)
                ORDER BY created_at DESC, id LIMIT \(Self.candidates)
                """)
        }
        let found = try rows.map(Batch.init)
        return try Self.only(of: found, reference, "batch", id: \.id.value, name: \.name) ?? { throw Self.noBatch(reference) }()
    }

    /// The lines of a batch's submit that were left out.
    package func flaws(of batch: BatchID) async throws -> [BatchFlaw] {
        let rows = try await read { try await $0.query("SELECT flaws FROM batches WHERE id = \(batch.value)") }
        guard let row = rows.first else { throw Self.noBatch(batch.value) }
        return try JSON.value([BatchFlaw].self, try row.text("flaws"))
    }

    /// As many of the last finished ones as tell how fast a batch goes.
    private static let paceOf = 100

    package func counts(of batch: Batch) async throws -> BatchCounts {
        try await read { transaction in
            var states: [MigrationState: Int] = [:]
            // Those under way, and those whose attempt waits: few. All else is told by the batch's own counts.
            let rows = try await transaction.query(
                """
                SELECT state, COUNT(*) AS n FROM (
                    SELECT state FROM migrations WHERE batch_id = \(batch.id.value) AND admitted = 1
                    UNION ALL SELECT state FROM migrations WHERE batch_id = \(batch.id.value) AND claimable = 1 AND admitted = 0
                        AND cancel_requested = 0 AND due_at > \(batch.createdAt.milliseconds)
                    UNION ALL SELECT state FROM migrations WHERE batch_id = \(batch.id.value) AND finished_at IS NULL AND admitted = 0
                        AND cancel_requested = 1
                ) AS begun GROUP BY state
                """)
            for row in rows { states[try row.word("state")] = Int(try row.integer("n")) }
            let told = states.values.reduce(0, +)
            states[.pending, default: 0] += max(0, batch.unfinished - told)
            states[.ready] = batch.ready
            states[.failed] = batch.failed + batch.cancelled
            var reasons: [Reason.Code: Int] = [:]
            if batch.failed + batch.cancelled > 0 {
                let rows = try await transaction.query(
                    """
                    SELECT reason_code, COUNT(*) AS n FROM migrations
                    WHERE batch_id = \(batch.id.value) AND finished_at IS NOT NULL AND reason_code IS NOT NULL
                        AND state = \(MigrationState.failed.rawValue)
                    GROUP BY reason_code
                    """)
                for row in rows { reasons[Reason.Code(try row.text("reason_code"))] = Int(try row.integer("n")) }
            }
            return BatchCounts(
                states: states.filter { $0.value > 0 }, reasons: reasons, etaMS: try await eta(of: batch, in: transaction))
        }
    }

    /// By the time that the last ones took, one after another.
    private func eta(of batch: Batch, in transaction: any SQLTransaction) async throws -> Int64? {
        guard batch.unfinished > 0, batch.pausedBy == nil, batch.held == nil, !batch.cancelRequested else { return nil }
        let row = try only(
            await transaction.query(
                """
                SELECT COUNT(*) AS n, MIN(finished_at) AS since, \(dialect.now) AS now FROM (
                    SELECT finished_at FROM migrations WHERE batch_id = \(batch.id.value) AND finished_at IS NOT NULL
                    ORDER BY finished_at DESC LIMIT \(Self.paceOf)) AS late
                """))
        let number = try row.integer("n")
        guard number > 0, let oldest = try row.optionalInteger("since") else { return nil }
        // The first hundred began with the batch; of later ones the oldest only marks when the others began.
        let isWhole = number < Self.paceOf
        let since = isWhole ? max(batch.createdAt.milliseconds, batch.startAt?.milliseconds ?? 0) : oldest
        let span = max(1, try row.integer("now") - since)
        return Int64(Double(span) / Double(isWhole ? number : number - 1) * Double(batch.unfinished))
    }

    static func noBatch(_ reference: String) -> StoreError {
        StoreError(.notFound, "There is no batch \(reference).")
    }
}
