import Client
import Hummingbird
import Store

extension API {
    private static let clusterLimits: ClosedRange<Int64> = 0...100_000

    @Sendable func showQueueLimits(_ request: Request, _ context: APIContext) async throws -> Response {
        try noQuery(request)
        return try .json(QueueView(try await store.queueState()))
    }

    @Sendable func setQueueLimits(_ request: Request, _ context: APIContext) async throws -> Response {
        var fields = try await fields(request)
        let cluster = try fields.integer("cluster", in: Self.clusterLimits, unit: "migrations")
        try fields.finish()
        return try .json(QueueView(try await store.setQueueLimit(cluster.map { Int($0) }, actor: context.actor)))
    }
}
