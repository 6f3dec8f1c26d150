import Client
import Fleet
import Hummingbird
import Store

/// The end of old history: by an operator's order only, and never before it was archived.
extension API {
    @Sendable func listPrunable(_ request: Request, _ context: APIContext) async throws -> Response {
        var query = try query(request)
        let before = try time("finished_before", &query)
        let keep = try query.integer("keep", in: 0...Int(Int32.max))
        let limit = try query.integer("limit", in: 1...ListQuery.most) ?? 100
        let after = query.string("after").map { MigrationID($0) }
        try query.finish()
        let retention: Retention
        switch (before, keep) {
        case (let before?, nil): retention = .finishedBefore(before)
        case (nil, let keep?): retention = .keeping(keep)
        default:
            throw Problem.invalid(
                keep == nil ? "finished_before" : "keep",
                "Give one of the parameters finished_before and keep, which say whose history may go.")
        }
        let found = try await store.prunableHistory(retention, after: after, limit: limit + 1)
        let page = found.prefix(limit)
        return try .json(
            Page(
                items: page.map { PrunableView(migration: $0.migration.value, rows: $0.rows, lastSequence: $0.lastSequence) },
                next: found.count > limit ? page.last?.migration.value : nil))
    }

    @Sendable func pruneHistory(_ request: Request, _ context: APIContext) async throws -> Response {
        var fields = try await fields(request)
        let rows = try fields.integer("rows", in: 1...Int64(Int32.max), unit: "rows")
        let last = try fields.integer("last_sequence", in: 1...Int64.max, unit: "and a row's number")
        let archive = try fields.requiredString("archive", "/backup/history-2026.jsonl")
        try fields.finish()
        guard let rows, let last else {
            let name = rows == nil ? "rows" : "last_sequence"
            throw Problem.invalid(name, "\(name) is missing; give what was archived, so that nothing else goes.")
        }
        let migration = try await store.migration(try parameter("migration", context))
        try await store.pruneHistory(
            PrunableHistory(migration: migration.id, rows: Int(rows), lastSequence: last), archive: archive, actor: context.actor)
        let left = try await store.history(of: migration.id)
        guard let mark = left.last(where: { $0.reason?.code == .historyPruned }) else {
            throw Problem.notFound("The history of migration \(migration.id) is not there any more.", field: "migration")
        }
        let views = Views(hosts: try await store.hosts(), names: try await store.serverNames([migration.server]))
        return try .json(views.transition(mark))
    }
}
