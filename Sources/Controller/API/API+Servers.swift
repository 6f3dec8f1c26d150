import AgentAPI
import Client
import Fleet
import Hummingbird
import Logging
import Store

extension API {
    @Sendable func listServers(_ request: Request, _ context: APIContext) async throws -> Response {
        var query = try query(request)
        let list = try query.list()
        var filter = ServerFilter(search: list.search)
        if let reference = query.string("host") { filter.host = try await host(reference, field: "host").id }
        if let statuses = try query.choices("status", ShownStatus.self) {
            guard statuses.count == 1 else { throw Problem.invalid("status", "The parameter status takes one status.") }
            (filter.status, filter.isPaused) = statuses.first.map { ($0.stored.status, $0.stored.isPaused) } ?? (nil, nil)
        }
        try query.finish()
        let selection = try list.selection(of: ServerView.self)
        let servers = try await store.servers(filter)
        let views = Views(hosts: try await store.hosts())
        var migrations: [ServerID: MigrationID] = [:]
        if servers.contains(where: \.status.isMigration) {
            let unfinished = try await store.migrations(MigrationFilter(states: Self.unfinished, limit: Self.mostUnfinished))
            for migration in unfinished { migrations[migration.server] = migration.id }
        }
        return try .json(selection.page(of: servers.map { views.server($0, migration: migrations[$0.id]) }))
    }

    static let unfinished = Set(MigrationState.allCases.filter { !$0.isFinished })
    private static let mostUnfinished = 100_000

    @Sendable func createServer(_ request: Request, _ context: APIContext) async throws -> Response {
        var fields = try await fields(request)
        let server = try await operations.create(try ServerRequest(&fields))
        return try .json(try await view(of: server, context), status: .created)
    }

    @Sendable func showServer(_ request: Request, _ context: APIContext) async throws -> Response {
        try noQuery(request)
        return try .json(try await view(of: try await store.server(try parameter("server", context)), context))
    }

    @Sendable func deleteServer(_ request: Request, _ context: APIContext) async throws -> Response {
        try await noFields(request)
        try await operations.delete(try parameter("server", context))
        return Response(status: .noContent)
    }

    @Sendable func startServer(_ request: Request, _ context: APIContext) async throws -> Response {
        try await noFields(request)
        return try .json(try await view(of: try await operations.start(try parameter("server", context)), context))
    }

    @Sendable func stopServer(_ request: Request, _ context: APIContext) async throws -> Response {
        var fields = try await fields(request)
        let grace = try fields.integer("grace_ms", in: 0...600_000, unit: "milliseconds")
        try fields.finish()
        let server = try await operations.stop(try parameter("server", context), grace: grace.map { .milliseconds($0) })
        return try .json(try await view(of: server, context))
    }

    @Sendable func suspendServer(_ request: Request, _ context: APIContext) async throws -> Response {
        try await noFields(request)
        return try .json(try await view(of: try await operations.pause(try parameter("server", context), true), context))
    }

    @Sendable func resumeServer(_ request: Request, _ context: APIContext) async throws -> Response {
        try await noFields(request)
        return try .json(try await view(of: try await operations.pause(try parameter("server", context), false), context))
    }

    /// By id or name.
    func host(_ reference: String, field: String) async throws -> Host {
        try await store.host(reference, field: field)
    }

    /// With what only its agent and the queue know.
    private func view(of server: Server, _ context: APIContext) async throws -> ServerView {
        let hosts = try await store.hosts()
        var consoleLog: String?
        if let host = hosts.first(where: { $0.id == server.host }), host.isOnline(at: try await store.now()), server.status != .deploying {
            let agent = agents.agent(of: host)
            do {
                consoleLog = try await within(.seconds(2)) { try await agent.guest(server.id) }.consoleLog
            } catch {
                context.logger.debug("a guest could not be asked for", metadata: ["server": "\(server.name)", "error": "\(error)"])
            }
        }
        var filter = MigrationFilter(states: Self.unfinished, limit: 1)
        filter.server = server.id
        let migration = try await store.migrations(filter).first
        return Views(hosts: hosts).server(server, migration: migration?.id, consoleLog: consoleLog)
    }
}

extension Store {
    /// - Throws: ``Problem`` that names the field of the request.
    func host(_ reference: String, field: String) async throws -> Host {
        do {
            return try await host(reference)
        } catch let error as StoreError where error.code == .notFound {
            throw Problem.notFound("\(error.message) See host-list for their names.", field: field)
        } catch let error as StoreError where error.code == .ambiguous {
            throw Problem.conflict("ambiguous", error.message, field: field)
        }
    }
}
