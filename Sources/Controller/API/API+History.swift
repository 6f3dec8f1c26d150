import Client
import Fleet
import Foundation
import Hummingbird
import Store

/// Questions to the history of all migrations.
extension API {
    @Sendable func listHistory(_ request: Request, _ context: APIContext) async throws -> Response {
        var query = try query(request)
        let filter = try await filter(&query)
        let limit = try query.integer("limit", in: 1...ListQuery.most) ?? 20
        let orders = try query.choices("order", ListQuery.Order.self) ?? [.desc]
        guard orders.count == 1 else { throw Problem.invalid("order", "The parameter order must be asc or desc.") }
        let after = try query.integer("after", in: 1...Int.max)
        try query.finish()
        let rows = try await store.history(
            filter, newestFirst: orders == [.desc], after: after.map(Int64.init), limit: limit + 1)
        let page = rows.prefix(limit)
        let views = Views(hosts: try await store.hosts(), names: try await store.serverNames(Set(page.map(\.server))))
        return try .json(
            Page(items: page.map(views.transition), next: rows.count > limit ? page.last.map { String($0.sequence) } : nil))
    }

    @Sendable func showStatistics(_ request: Request, _ context: APIContext) async throws -> Response {
        var query = try query(request)
        let filter = try await filter(&query)
        let dimensions = try query.string("by").map { text in
            try text.split(separator: ",").map { word in
                guard let dimension = HistoryDimension(rawValue: String(word)) else {
                    let all = HistoryDimension.allCases.map(\.rawValue).joined(separator: ", ")
                    throw Problem.invalid("by", "The parameter by is “\(word)”; it must be one of \(all).")
                }
                return dimension
            }
        }
        try query.finish()
        let wanted = dimensions ?? []
        guard Set(wanted).count == wanted.count else {
            throw Problem.invalid("by", "The parameter by names something twice; name it once.")
        }
        let statistics = try await store.historyStatistics(by: wanted, filter).map { StatisticsView($0, by: wanted) }
        return try .json(Page(items: statistics, total: statistics.count))
    }

    @Sendable func verifyHistory(_ request: Request, _ context: APIContext) async throws -> Response {
        var query = try query(request)
        let migration = try await migration(&query)
        try query.finish()
        return try .json(VerificationView(try await store.verifyHistory(of: migration)))
    }

    private func filter(_ query: inout Query) async throws -> HistoryFilter {
        var filter = HistoryFilter()
        if let reference = query.string("server") { filter.server = try await serverID(reference) }
        if let reference = query.string("host") { filter.host = try await host(reference, field: "host").id }
        filter.migration = try await migration(&query)
        if let reference = query.string("batch") { filter.batch = try await batchID(reference, field: "batch") }
        filter.states = try query.choices("state", MigrationState.self)
        filter.modes = try query.choices("mode", Mode.self)
        filter.reasons = query.string("reason").map { Set($0.split(separator: ",").map { Reason.Code(String($0)) }) }
        filter.actor = query.string("actor")
        filter.since = try time("since", &query)
        filter.until = try time("until", &query)
        return filter
    }

    private func migration(_ query: inout Query) async throws -> MigrationID? {
        guard let reference = query.string("migration") else { return nil }
        return try await migrationID(reference, field: "migration")
    }

    func time(_ name: String, _ query: inout Query) throws -> Timestamp? {
        guard let text = query.string(name) else { return nil }
        guard let time = WireTime(text) else {
            throw Problem.invalid(name, "The parameter \(name) is “\(text)”; it must be an RFC 3339 time such as 2026-03-01T12:00:00Z.")
        }
        return time.timestamp
    }
}

extension StatisticsView {
    init(_ statistics: HistoryStatistics, by dimensions: [HistoryDimension]) {
        var key: [String: String] = [:]
        for (dimension, value) in zip(dimensions, statistics.key) { key[dimension.rawValue] = value }
        self.init(
            key: key, count: statistics.count, ready: statistics.ready, failed: statistics.failed,
            totalMS: statistics.totalMS.map(Percentiles.init), blackoutUS: statistics.blackoutUS.map(Percentiles.init),
            bytes: statistics.bytes.map(Percentiles.init))
    }
}

extension StatisticsView.Percentiles {
    init(_ percentiles: HistoryStatistics.Percentiles) {
        self.init(p50: percentiles.p50, p95: percentiles.p95, p99: percentiles.p99)
    }
}

extension VerificationView {
    init(_ verification: HistoryVerification) {
        self.init(
            migrations: verification.migrations, rows: verification.rows, pruned: verification.pruned, unproven: verification.unproven,
            flaws: verification.flaws.map {
                Flaw(migration: $0.migration.value, kind: $0.kind.rawValue, sequence: $0.sequence, message: $0.message)
            })
    }
}
