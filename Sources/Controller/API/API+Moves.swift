import Client
import Fleet
import Hummingbird
import Store

/// What is asked of a server's migration: its beginning, its end before its time, its parameters.
extension API {
    /// Tries of a migration before it fails for good.
    static let attempts = 3

    @Sendable func liveMigrate(_ request: Request, _ context: APIContext) async throws -> Response {
        var fields = try await fields(request)
        let priority = try Self.priority(&fields)
        return try await submit(try MigrationRequest.live(&fields), priority: priority, context)
    }

    @Sendable func migrate(_ request: Request, _ context: APIContext) async throws -> Response {
        var fields = try await fields(request)
        let priority = try Self.priority(&fields)
        return try await submit(try MigrationRequest.coldOrRescue(&fields), priority: priority, context)
    }

    static func priority(_ fields: inout Fields) throws -> Int {
        Int(try fields.integer("priority", in: MigrationBounds.priority, unit: "(0 is the usual one)") ?? 0)
    }

    private func submit(_ request: MigrationRequest, priority: Int, _ context: APIContext) async throws -> Response {
        let server = try await store.server(try parameter("server", context))
        var options = request.options
        if let wanted = request.preferHost {
            let host = try await host(wanted, field: "prefer_host")
            guard host.id != server.host else {
                throw Problem.conflict(
                    "same-host", "The server \(server.name) is on \(host.name) already; name another host or none.", field: "prefer_host")
            }
            options.preferHost = host.id
        }
        let source = try await store.host(server.host.value)
        if let refusal = MigrationRefusal.problem(request, of: server, on: source, at: try await store.now()) { throw refusal }
        let migration = try await store.submitMigration(
            server: server.id, mode: request.mode, options: options, maxAttempts: Self.attempts, priority: priority,
            actor: context.actor)
        return try .json(try await view(of: migration), status: .accepted)
    }

    // MARK: under way

    /// In every state. Of another mode it is refused: its name says what it is for.
    @Sendable func cancelLiveMigrate(_ request: Request, _ context: APIContext) async throws -> Response {
        try await noFields(request)
        let (server, migration) = try await underWay(try parameter("server", context), so: "nothing to cancel")
        guard migration.mode == .live else {
            throw Problem.conflict(
                "not-live",
                "The migration of the server \(server.name) is \(migration.mode.rawValue), not live; cancel it with migration-cancel \(migration.id)."
            )
        }
        return try await cancel(migration, context)
    }

    @Sendable func cancelMigration(_ request: Request, _ context: APIContext) async throws -> Response {
        try await noFields(request)
        return try await cancel(try await store.migration(try parameter("migration", context)), context)
    }

    private func cancel(_ migration: Migration, _ context: APIContext) async throws -> Response {
        let now = migration.state.isFinished ? migration : try await store.requestCancel(migration.id, actor: context.actor)
        // One of which nothing stood anywhere yet is over at once.
        let isOverByThis = !migration.state.isFinished && now.reason?.code == .cancelled
        guard !now.state.isFinished || isOverByThis else {
            throw Problem.conflict("finished", "The migration \(now.id) is \(now.state.rawValue) already; there is nothing to cancel.")
        }
        return try .json(try await view(of: now), status: .accepted)
    }

    @Sendable func setLiveMigrateParams(_ request: Request, _ context: APIContext) async throws -> Response {
        var fields = try await fields(request)
        let bandwidth = 0...MigrationBounds.bandwidthMB.upperBound
        let parameters = MigrationParameters(
            maxBandwidthMB: try fields.integer("max_bandwidth_mb", in: bandwidth, unit: "MB/s; 0 lifts the limit"),
            downtimeLimitMS: try fields.integer("downtime_limit_ms", in: MigrationBounds.downtimeMS, unit: "milliseconds"),
            confirmHostDown: try fields.boolean("confirm_host_down") ?? false)
        try fields.finish()
        guard !parameters.isEmpty else {
            throw Problem.invalid(nil, "Nothing is to be changed: give max_bandwidth_mb, downtime_limit_ms, or confirm_host_down.")
        }
        let (server, migration) = try await underWay(try parameter("server", context), so: "nothing to set")
        if parameters.confirmHostDown {
            let source = try await store.host(migration.source.value)
            guard !source.isOnline(at: try await store.now()) else {
                throw Problem.conflict(
                    "host-not-down",
                    "The host \(source.name), from which the server \(server.name) comes, answers: what it still has of the guest's memory will be fetched. Wait until it is offline before you vouch that it is off.",
                    field: "confirm_host_down")
            }
        }
        let changed = try await store.setParameters(of: migration.id, parameters, actor: context.actor)
        return try .json(try await view(of: changed))
    }

    /// The unfinished migration of a server.
    private func underWay(_ reference: String, so nothing: String) async throws -> (Server, Migration) {
        let server = try await store.server(reference)
        guard let migration = try await store.migrations(MigrationFilter(server: server.id, states: Self.unfinished, limit: 1)).first
        else {
            throw Problem.conflict(
                "not-migrating", "The server \(server.name) is \(server.status.rawValue) and in no migration; there is \(nothing).")
        }
        return (server, migration)
    }
}
