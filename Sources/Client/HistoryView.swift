package import Fleet

/// What the history is asked for.
package struct HistoryQuery: Hashable, Sendable {
    /// Id or name; the id also of a server that is gone.
    package var server: String?
    /// Id or name, as source or target.
    package var host: String?
    /// Id or its unique beginning.
    package var migration: String?
    /// Id or unique name.
    package var batch: String?
    /// The states that rows lead to; of statistics, how migrations ended.
    package var states: [MigrationState]
    package var modes: [Mode]
    /// Codes of reasons.
    package var reasons: [String]
    package var actor: String?
    /// From then on, and before then; of statistics, when migrations ended.
    package var since: WireTime?
    package var until: WireTime?

    package init(
        server: String? = nil, host: String? = nil, migration: String? = nil, batch: String? = nil,
        states: [MigrationState] = [], modes: [Mode] = [], reasons: [String] = [], actor: String? = nil, since: WireTime? = nil,
        until: WireTime? = nil
    ) {
        self.server = server
        self.host = host
        self.migration = migration
        self.batch = batch
        self.states = states
        self.modes = modes
        self.reasons = reasons
        self.actor = actor
        self.since = since
        self.until = until
    }

    var parameters: [(String, String?)] {
        func words(_ values: [String]) -> String? { values.isEmpty ? nil : values.joined(separator: ",") }
        return [
            ("server", server), ("host", host), ("migration", migration), ("batch", batch),
            ("state", words(states.map(\.rawValue))), ("mode", words(modes.map(\.rawValue))), ("reason", words(reasons)), ("actor", actor),
            ("since", since?.description),
            ("until", until?.description),
        ]
    }
}

/// Finished migrations of one kind, and what they took.
package struct StatisticsView: Hashable, Sendable, Codable {
    /// Percentiles by nearest rank, of those that were ready.
    package struct Percentiles: Hashable, Sendable, Codable {
        package var p50: Int64
        package var p95: Int64
        package var p99: Int64

        package init(p50: Int64, p95: Int64, p99: Int64) {
            self.p50 = p50
            self.p95 = p95
            self.p99 = p99
        }

        package enum CodingKeys: String, CodingKey, CaseIterable {
            case p50, p95, p99
        }
    }

    /// What they have in common, by the names of what was asked for.
    package var key: [String: String]
    package var count: Int
    package var ready: Int
    package var failed: Int
    /// From the submit to the end.
    package var totalMS: Percentiles?
    package var blackoutUS: Percentiles?
    /// Of disk and memory.
    package var bytes: Percentiles?

    package init(
        key: [String: String], count: Int, ready: Int, failed: Int, totalMS: Percentiles? = nil, blackoutUS: Percentiles? = nil,
        bytes: Percentiles? = nil
    ) {
        self.key = key
        self.count = count
        self.ready = ready
        self.failed = failed
        self.totalMS = totalMS
        self.blackoutUS = blackoutUS
        self.bytes = bytes
    }

    package enum CodingKeys: String, CodingKey, CaseIterable {
        case key, count, ready, failed
        case totalMS = "total_ms"
        case blackoutUS = "blackout_us"
        case bytes
    }
}

/// What a look through the history for what was altered came to.
package struct VerificationView: Hashable, Sendable, Codable {
    package struct Flaw: Hashable, Sendable, Codable {
        package var migration: String
        /// altered, missing, unknown, contradicted.
        package var kind: String
        package var sequence: Int64?
        package var message: String

        package init(migration: String, kind: String, sequence: Int64?, message: String) {
            self.migration = migration
            self.kind = kind
            self.sequence = sequence
            self.message = message
        }

        package enum CodingKeys: String, CodingKey, CaseIterable {
            case migration, kind, sequence, message
        }
    }

    package var migrations: Int
    package var rows: Int
    /// Rows that were archived and taken away.
    package var pruned: Int
    /// Rows from before there were hashes, which prove nothing.
    package var unproven: Int
    package var flaws: [Flaw]

    package init(migrations: Int, rows: Int, pruned: Int, unproven: Int, flaws: [Flaw]) {
        self.migrations = migrations
        self.rows = rows
        self.pruned = pruned
        self.unproven = unproven
        self.flaws = flaws
    }

    package enum CodingKeys: String, CodingKey, CaseIterable {
        case migrations, rows, pruned, unproven, flaws
    }
}

extension GodwitClient {
    /// One page of the history by time.
    /// - Parameter after: ``Page/next`` of the page before.
    package func history(
        _ query: HistoryQuery, order: ListQuery.Order = .desc, after: String? = nil, limit: Int = 20
    ) async throws -> Page<TransitionView> {
        try await get("/v1/history", query.parameters + [("order", order.rawValue), ("after", after), ("limit", String(limit))])
    }

    /// - Parameter dimensions: day, source, target, mode, state, reason; all in one when empty.
    package func historyStatistics(by dimensions: [String], _ query: HistoryQuery) async throws -> Page<StatisticsView> {
        try await get(
            "/v1/history/statistics",
            query.parameters + [("by", dimensions.isEmpty ? nil : dimensions.joined(separator: ","))])
    }

    /// Of one migration, or of all.
    package func verifyHistory(of migration: String? = nil) async throws -> VerificationView {
        try await get("/v1/history/verification", [("migration", migration)], deadline: .seconds(3600))
    }
}
