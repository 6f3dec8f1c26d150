import AgentAPI
import Client
import Fleet
import Hummingbird
import Logging
import Store

/// What failed attempts left on their targets and was kept.
extension API {
    @Sendable func listKept(_ request: Request, _ context: APIContext) async throws -> Response {
        var query = try query(request)
        let wanted = query.string("host")
        try query.finish()
        var hosts = try await store.hosts()
        if let wanted { hosts = [try await store.host(wanted)] }
        let views = hosts.flatMap { host in
            (host.facts?.kept ?? []).map { kept in
                KeptView(
                    id: kept.id, host: Named(id: host.id.value, name: host.name), server: Named(id: kept.server.value, name: kept.name),
                    migration: kept.migration.value, attempt: kept.attempt, reason: kept.reason, keptAt: WireTime(kept.keptAt),
                    bytes: kept.bytes, folders: kept.folders)
            }
        }.sorted { $0.keptAt > $1.keptAt }
        return try .json(Page(items: views, total: views.count))
    }

    @Sendable func deleteKept(_ request: Request, _ context: APIContext) async throws -> Response {
        try await noFields(request)
        let host = try await store.host(try parameter("host", context))
        let id = try parameter("kept", context)
        guard host.facts?.kept?.contains(where: { $0.id == id }) == true else {
            throw Problem.notFound("Nothing is kept on host \(host.name) as “\(id)”; `godwit kept-list` shows what is.", field: "kept")
        }
        let agent = agents.agent(of: host)
        try await agent.deleteKept(id)
        do {
            // The next list must not show it any more. Where the agent does not say so now, the next look at the host does.
            let timing = HostWatch.Timing()
            let facts = try await within(timing.deadline) { try await agent.host() }
            try await store.recordHealth(of: host.id, facts: facts, validForMS: timing.validity.inMilliseconds)
        } catch {
            context.logger.info("what is kept on a host was not asked again", metadata: ["host": "\(host.name)", "error": "\(error)"])
        }
        return Response(status: .noContent)
    }
}
