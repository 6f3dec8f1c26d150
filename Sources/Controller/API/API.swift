import APIDocument
import AgentAPI
import Client
import Fleet
import Foundation
package import Hummingbird
import Logging
import NIOFoundationCompat
import Store

/// The controller's HTTP API: reads requests, has them done, writes answers. What is done stands elsewhere.
package struct API: Sendable {
    let name: String
    let store: Store
    let agents: any AgentDirectory
    let operations: Operations
    let tokens: BearerTokens
    let doctor: Doctor

    /// One route. The table of them is what the router is built of and what the OpenAPI document is tested against.
    package struct Route: Sendable {
        package let method: HTTPRequest.Method
        /// With parameters in braces, as OpenAPI writes them.
        package let path: String
        /// Answered without a token.
        let isOpen: Bool
        let handle: @Sendable (Request, APIContext) async throws -> Response

        init(
            _ method: HTTPRequest.Method, _ path: String, isOpen: Bool = false,
            _ handle: @escaping @Sendable (Request, APIContext) async throws -> Response
        ) {
            self.method = method
            self.path = path
            self.isOpen = isOpen
            self.handle = handle
        }
    }

    package var routes: [Route] {
        [
            Route(.get, "/healthz", isOpen: true, health),
            Route(.get, "/openapi.json", isOpen: true, openAPI),
            Route(.get, "/v1/servers", listServers),
            Route(.post, "/v1/servers", createServer),
            Route(.get, "/v1/servers/{server}", showServer),
            Route(.delete, "/v1/servers/{server}", deleteServer),
            Route(.post, "/v1/servers/{server}/start", startServer),
            Route(.post, "/v1/servers/{server}/stop", stopServer),
            Route(.post, "/v1/servers/{server}/suspend", suspendServer),
            Route(.post, "/v1/servers/{server}/resume", resumeServer),
            Route(.post, "/v1/servers/{server}/migrate", migrate),
            Route(.post, "/v1/servers/{server}/live-migrate", liveMigrate),
            Route(.post, "/v1/servers/{server}/cancel-live-migrate", cancelLiveMigrate),
            Route(.post, "/v1/servers/{server}/set-live-migrate-params", setLiveMigrateParams),
            Route(.post, "/v1/servers/{server}/migrate-forecast", forecastMigration),
            Route(.get, "/v1/server-groups", listGroups),
            Route(.post, "/v1/server-groups", createGroup),
            Route(.get, "/v1/server-groups/{group}", showGroup),
            Route(.delete, "/v1/server-groups/{group}", deleteGroup),
            Route(.post, "/v1/server-groups/{group}/servers", addToGroup),
            Route(.delete, "/v1/server-groups/{group}/servers/{server}", removeFromGroup),
            Route(.get, "/v1/hosts", listHosts),
            Route(.post, "/v1/hosts", registerHost),
            Route(.get, "/v1/hosts/{host}", showHost),
            Route(.patch, "/v1/hosts/{host}", limitHost),
            Route(.post, "/v1/hosts/{host}/maintenance", beginMaintenance),
            Route(.post, "/v1/hosts/{host}/unmaintenance", endMaintenance),
            Route(.post, "/v1/hosts/{host}/auto-migrate-on-host-down", setAutoMigration),
            Route(.post, "/v1/hosts/{host}/enable", enableHost),
            Route(.post, "/v1/hosts/{host}/disable", disableHost),
            Route(.get, "/v1/batches", listBatches),
            Route(.post, "/v1/batches", submitBatch),
            Route(.post, "/v1/batches/plan", planBatch),
            Route(.get, "/v1/batches/{batch}", showBatch),
            Route(.post, "/v1/batches/{batch}/pause", pauseBatch),
            Route(.post, "/v1/batches/{batch}/resume", resumeBatch),
            Route(.post, "/v1/batches/{batch}/cancel", cancelBatch),
            Route(.post, "/v1/batches/{batch}/retry", retryBatch),
            Route(.get, "/v1/queue-limits", showQueueLimits),
            Route(.put, "/v1/queue-limits", setQueueLimits),
            Route(.get, "/v1/migrations", listMigrations),
            Route(.get, "/v1/migrations/{migration}", showMigration),
            Route(.post, "/v1/migrations/{migration}/cancel", cancelMigration),
            Route(.get, "/v1/migrations/{migration}/history", showHistory),
            Route(.get, "/v1/migrations/{migration}/events", watchMigration),
            Route(.get, "/v1/history", listHistory),
            Route(.get, "/v1/history/statistics", showStatistics),
            Route(.get, "/v1/history/verification", verifyHistory),
            Route(.get, "/v1/history/prunable", listPrunable),
            Route(.post, "/v1/migrations/{migration}/prune-history", pruneHistory),
            Route(.get, "/v1/cleanups", listCleanups),
            Route(.get, "/v1/diagnosis", diagnose),
            Route(.post, "/v1/diagnosis/fix", fixDiagnosed),
            Route(.get, "/v1/kept", listKept),
            Route(.delete, "/v1/hosts/{host}/kept/{kept}", deleteKept),
        ]
    }

    package func router() -> Router<APIContext> {
        let routes = routes
        let router = Router(context: APIContext.self)
        router.add(middleware: ProblemMiddleware())
        router.add(middleware: BearerMiddleware(tokens: tokens, openPaths: Set(routes.filter(\.isOpen).map(\.path))))
        let methods = Dictionary(grouping: routes, by: \.path).mapValues { $0.map(\.method) }
        for route in routes {
            router.on(RouterPath(route.path), method: route.method) { request, context in try await route.handle(request, context) }
        }
        for (path, allowed) in methods {
            for method in Self.methods where !allowed.contains(method) {
                router.on(RouterPath(path), method: method) { _, _ -> Response in
                    throw Problem(
                        status: 405, code: "method-not-allowed",
                        "\(method.rawValue) is not known for \(path); known are \(allowed.map(\.rawValue).joined(separator: ", ")).")
                }
            }
        }
        return router
    }

    private static let methods: [HTTPRequest.Method] = [.get, .head, .post, .put, .patch, .delete]
}

// MARK: reading requests

extension API {
    static let bodyLimit = 1 << 20

    /// A parameter of the path, its percent signs resolved.
    func parameter(_ name: String, _ context: APIContext) throws -> String {
        let raw = try context.parameters.require(name)
        guard let text = raw.removingPercentEncoding, !text.isEmpty else {
            throw Problem.invalid(name, "The path holds “\(raw)”, which is not validly percent-encoded.")
        }
        return text
    }

    /// The fields of the body. A route that takes none calls this too and finishes: a body that nobody reads would be ignored silently.
    /// - Parameter limit: bytes of the body.
    func fields(_ request: Request, limit: Int = API.bodyLimit) async throws -> Fields {
        try noQuery(request)
        let body = try await request.body.collect(upTo: limit)
        if body.readableBytes > 0, let type = request.headers[.contentType],
            type.split(separator: ";").first?.lowercased() != "application/json"
        {
            throw Problem(status: 415, code: "unsupported-media-type", "The body is said to be \(type); send application/json.")
        }
        return try Fields(body: Data(buffer: body))
    }

    func noFields(_ request: Request) async throws {
        try await fields(request).finish()
    }

    func query(_ request: Request) throws -> Query {
        try Query(request.uri.queryParameters.map { (key: $0.key, value: $0.value) })
    }

    func noQuery(_ request: Request) throws {
        try query(request).finish()
    }
}

// MARK: the controller itself

extension API {
    @Sendable private func health(_ request: Request, _ context: APIContext) async throws -> Response {
        try noQuery(request)
        return try .json(HealthView(status: "ok", controller: name))
    }

    @Sendable private func openAPI(_ request: Request, _ context: APIContext) async throws -> Response {
        try noQuery(request)
        return Response(
            status: .ok, headers: [.contentType: "application/json"], body: ResponseBody(byteBuffer: ByteBuffer(string: OpenAPI.document)))
    }

    @Sendable private func listCleanups(_ request: Request, _ context: APIContext) async throws -> Response {
        try noQuery(request)
        let cleanups = try await store.cleanups()
        let names = try await store.serverNames(Set(cleanups.map(\.server)))
        let views = Views(hosts: try await store.hosts(), names: names)
        return try .json(Page(items: cleanups.map(views.cleanup), total: cleanups.count))
    }
}
