import Client
import Fleet
import Foundation
import Hummingbird
import Store

extension API {
    private static let batchBodyLimit = 16 << 20
    /// As many are listed; older ones are shown by their ids.
    private static let batchesAtMost = 10_000

    @Sendable func listBatches(_ request: Request, _ context: APIContext) async throws -> Response {
        var query = try query(request)
        let list = try query.list()
        let statuses = try query.choices("status", BatchStatus.self)
        try query.finish()
        let selection = try list.selection(of: BatchView.self)
        let search = list.search?.lowercased()
        let views = try await store.batches(limit: Self.batchesAtMost).map { BatchView($0) }.filter { view in
            if let statuses, !statuses.contains(view.status) { return false }
            return search.map { view.name.lowercased().contains($0) || view.id.contains($0) } ?? true
        }
        return try .json(selection.page(of: views))
    }

    @Sendable func submitBatch(_ request: Request, _ context: APIContext) async throws -> Response {
        var fields = try await fields(request, limit: Self.batchBodyLimit)
        let order = try BatchOrder(&fields)
        let digest = try order.digest
        // What was selected then counts, not what would be now.
        if let token = order.token, let known = try await store.batch(token: token) {
            guard known.digest == digest else { throw Store.tokenTaken(token, by: known.batch) }
            return try .json(try await view(of: known.batch))
        }
        let receipt = try await store.submitBatch(try await draft(order, digest, context))
        return try .json(try await view(of: receipt.batch), status: receipt.isNew ? .created : .ok)
    }

    @Sendable func planBatch(_ request: Request, _ context: APIContext) async throws -> Response {
        var fields = try await fields(request, limit: Self.batchBodyLimit)
        let order = try BatchOrder(&fields)
        return try .json(try await BatchPlanner(store: store).plan(try await draft(order, "", context)))
    }

    @Sendable func showBatch(_ request: Request, _ context: APIContext) async throws -> Response {
        try noQuery(request)
        return try .json(try await view(of: try await store.batch(try parameter("batch", context))))
    }

    @Sendable func pauseBatch(_ request: Request, _ context: APIContext) async throws -> Response {
        try await noFields(request)
        let batch = try await store.batch(try parameter("batch", context))
        return try .json(try await view(of: try await store.pauseBatch(batch.id, actor: context.actor)))
    }

    @Sendable func resumeBatch(_ request: Request, _ context: APIContext) async throws -> Response {
        try await noFields(request)
        let batch = try await store.batch(try parameter("batch", context))
        return try .json(try await view(of: try await store.resumeBatch(batch.id)))
    }

    @Sendable func cancelBatch(_ request: Request, _ context: APIContext) async throws -> Response {
        try await noFields(request)
        let batch = try await store.batch(try parameter("batch", context))
        return try .json(try await view(of: try await store.cancelBatch(batch.id, actor: context.actor)), status: .accepted)
    }

    @Sendable func retryBatch(_ request: Request, _ context: APIContext) async throws -> Response {
        var fields = try await fields(request)
        let token = try fields.string("token")
        let skipsInvalid = try fields.boolean("skip_invalid") ?? false
        try fields.finish()
        let batch = try await store.batch(try parameter("batch", context))
        let draft = try await store.retryDraft(of: batch, actor: context.actor, token: token, skipsInvalid: skipsInvalid)
        if let token, let known = try await store.batch(token: token), known.digest == draft.digest {
            return try .json(try await view(of: known.batch))
        }
        guard !draft.servers.isEmpty else {
            throw Problem.conflict(
                "nothing-failed", "Of the batch \(batch.name) nothing failed that was not tried again since; there is nothing to retry.")
        }
        let receipt = try await store.submitBatch(draft)
        return try .json(try await view(of: receipt.batch), status: receipt.isNew ? .created : .ok)
    }

    private func draft(_ order: BatchOrder, _ digest: String, _ context: APIContext) async throws -> BatchDraft {
        var draft = BatchDraft(
            name: order.name ?? Self.batchName(at: .now), actor: context.actor, token: order.token, digest: digest,
            servers: order.servers ?? [], mode: order.mode.mode, liveOptions: order.live.options, coldOptions: order.cold.options,
            maxAttempts: Self.attempts,
            priority: order.priority, maxParallel: order.maxParallel, maxFailures: order.maxFailures,
            startAt: order.startAt?.timestamp, skipsInvalid: order.skipsInvalid)
        if let wanted = order.live.preferHost { draft.liveOptions.preferHost = try await host(wanted, field: "live.prefer_host").id }
        if let wanted = order.cold.preferHost { draft.coldOptions.preferHost = try await host(wanted, field: "cold.prefer_host").id }
        if let selection = order.selection { draft.servers = try await selected(selection) }
        return draft
    }

    /// Ids of servers, by their names.
    private func selected(_ selection: BatchRequest.Selection) async throws -> [String] {
        var filter = ServerFilter(search: selection.search)
        if let host = selection.fromHost { filter.host = try await self.host(host, field: "selection.from_host").id }
        let list: ListSelection<ServerView>
        do {
            list = try ListSelection(ListQuery(filters: selection.filter ?? []))
        } catch {
            throw Problem.invalid("selection.filter", error.message.asSentence)
        }
        let views = Views(hosts: try await store.hosts())
        let found = try await store.servers(filter).map { views.server($0, migration: nil) }.filter(list.admits)
        guard !found.isEmpty else { throw Problem.invalid("selection", "No server is selected by this; nothing is to be done.") }
        guard found.count <= BatchDraft.most else {
            throw Problem.invalid("selection", "\(found.count) servers are selected; a batch has at most \(BatchDraft.most).")
        }
        return found.sorted { $0.name < $1.name }.map(\.id)
    }

    /// One that tells when it was submitted, `batch-20260301-120000`.
    static func batchName(_ stem: String = "batch", at time: Timestamp) -> String {
        let text = time.description.prefix(19)
        return "\(stem)-" + text.filter { $0.isNumber || $0 == "T" }.replacingOccurrences(of: "T", with: "-")
    }

    private func view(of batch: Batch) async throws -> BatchView {
        var view = BatchView(batch)
        let counts = try await store.counts(of: batch)
        view.states = Dictionary(uniqueKeysWithValues: counts.states.map { ($0.key.rawValue, $0.value) })
        view.reasons = Dictionary(uniqueKeysWithValues: counts.reasons.map { ($0.key.value, $0.value) })
        view.etaMS = counts.etaMS
        view.lines = batch.skipped > 0 ? try await store.flaws(of: batch.id) : []
        return view
    }
}

extension BatchView {
    init(_ batch: Batch) {
        self.init(
            id: batch.id.value, name: batch.name, status: batch.status(at: .now), total: batch.total, running: batch.running,
            ready: batch.ready, failed: batch.failed, cancelled: batch.cancelled, skipped: batch.skipped, actor: batch.actor,
            token: batch.token, mode: BatchMode(batch.mode), priority: batch.priority, maxParallel: batch.maxParallel,
            maxFailures: batch.maxFailures, startAt: batch.startAt.map(WireTime.init), pausedBy: batch.pausedBy, held: batch.held,
            cancelRequested: batch.cancelRequested, retryOf: batch.retryOf?.value, createdAt: WireTime(batch.createdAt),
            finishedAt: batch.finishedAt.map(WireTime.init))
    }
}
