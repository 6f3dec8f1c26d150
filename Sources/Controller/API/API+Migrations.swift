import Client
import Fleet
import Foundation
import Hummingbird
import NIOCore
import ServiceLifecycle
import Store

extension API {
    @Sendable func listMigrations(_ request: Request, _ context: APIContext) async throws -> Response {
        var query = try query(request)
        let list = try query.list()
        var filter = MigrationFilter()
        if let reference = query.string("server") { filter.server = try await serverID(reference) }
        if let reference = query.string("host") { filter.host = try await host(reference, field: "host").id }
        if let reference = query.string("batch") { filter.batch = try await batchID(reference, field: "batch") }
        filter.states = try query.choices("state", MigrationState.self)
        filter.modes = try query.choices("mode", Mode.self)
        filter.reasons = query.string("reason").map { Set($0.split(separator: ",").map { Reason.Code(String($0)) }) }
        filter.actor = query.string("actor")
        filter.since = try time("since", &query)
        filter.until = try time("until", &query)
        if let reference = query.string("before") { filter.before = try await migrationID(reference, field: "before") }
        try query.finish()
        return try .json(try await MigrationListing(store: store, filter: filter, query: list).page())
    }

    /// A server that is gone has its migrations still: then it is named by its id.
    func serverID(_ reference: String) async throws -> ServerID {
        do {
            return try await store.server(reference).id
        } catch let error as StoreError where error.code == .notFound {
            let past = ServerID(reference)
            guard try await store.migrations(MigrationFilter(server: past, limit: 1)).isEmpty else { return past }
            throw Problem.notFound(error.message, field: "server")
        }
    }

    func batchID(_ reference: String, field: String) async throws -> BatchID {
        do {
            return try await store.batch(reference).id
        } catch let error as StoreError where error.code == .notFound {
            throw Problem.notFound(error.message, field: field)
        }
    }

    func migrationID(_ reference: String, field: String) async throws -> MigrationID {
        do {
            return try await store.migration(reference).id
        } catch let error as StoreError where error.code == .notFound {
            throw Problem.notFound(error.message, field: field)
        }
    }

    @Sendable func showMigration(_ request: Request, _ context: APIContext) async throws -> Response {
        try noQuery(request)
        return try .json(try await view(of: try await store.migration(try parameter("migration", context))))
    }

    @Sendable func showHistory(_ request: Request, _ context: APIContext) async throws -> Response {
        try noQuery(request)
        let migration = try await store.migration(try parameter("migration", context))
        let rows = try await store.history(of: migration.id)
        let views = Views(hosts: try await store.hosts(), names: try await store.serverNames([migration.server]))
        return try .json(Page(items: rows.map(views.transition), total: rows.count))
    }

    func view(of migration: Migration) async throws -> MigrationView {
        Views(hosts: try await store.hosts(), names: try await store.serverNames([migration.server])).migration(migration)
    }
}

// MARK: events

extension API {
    /// How often a migration is looked at while somebody watches.
    private static let watchInterval = Duration.milliseconds(250)
    /// Something is said at least this often, so that both sides notice when the other is gone.
    private static let keepAlive = Duration.seconds(5)

    /// Server-sent events: `migration` with the whole migration at once and each time it changed, until it is finished.
    @Sendable func watchMigration(_ request: Request, _ context: APIContext) async throws -> Response {
        try noQuery(request)
        let first = try await store.migration(try parameter("migration", context))
        let id = first.id
        let body = ResponseBody { writer in
            try await withThrowingTaskGroup { group in
                let (signals, signal) = AsyncStream.makeStream(of: Void.self, bufferingPolicy: .bufferingNewest(1))
                group.addTask {
                    for await _ in store.changes() { signal.yield() }
                }
                group.addTask {
                    while true {
                        // Progress is written without a signal.
                        try await Task.sleep(for: Self.watchInterval)
                        signal.yield()
                    }
                }
                defer { group.cancelAll() }
                var last = first
                try await writer.write(try Self.event(try await view(of: first)))
                var said = ContinuousClock.now
                // Without the end on shutdown the server would wait for its watchers; they connect to the next one.
                for await _ in signals.cancelOnGracefulShutdown() where !last.state.isFinished {
                    let now = try await store.migration(id.value)
                    if now != last {
                        last = now
                        said = .now
                        try await writer.write(try Self.event(try await view(of: now)))
                    } else if ContinuousClock.now - said > Self.keepAlive {
                        said = .now
                        try await writer.write(ByteBuffer(string: ": still here\n\n"))
                    }
                    if last.state.isFinished { break }
                }
            }
            try await writer.finish(nil)
        }
        return Response(status: .ok, headers: [.contentType: "text/event-stream", .cacheControl: "no-store"], body: body)
    }

    private static func event(_ view: MigrationView) throws -> ByteBuffer {
        ByteBuffer(string: "event: migration\ndata: \(String(decoding: try JSONEncoder.api.encode(view), as: UTF8.self))\n\n")
    }
}
