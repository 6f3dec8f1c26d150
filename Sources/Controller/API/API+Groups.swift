import Client
import Fleet
import Hummingbird
import Store

extension API {
    @Sendable func listGroups(_ request: Request, _ context: APIContext) async throws -> Response {
        try noQuery(request)
        let groups = try await store.groups()
        let places = try await Places(store)
        return try .json(Page(items: groups.map(places.view), total: groups.count))
    }

    @Sendable func createGroup(_ request: Request, _ context: APIContext) async throws -> Response {
        var fields = try await fields(request)
        let name = try fields.requiredString("name", "web")
        guard let policy = try fields.choice("policy", ServerGroup.Policy.self) else {
            throw Problem.invalid("policy", "policy is missing; give “apart” or “together”.")
        }
        try fields.finish()
        try Names.check(name, field: "name")
        return try .json(try await Places(store).view(try await store.createGroup(name: name, policy: policy)), status: .created)
    }

    @Sendable func showGroup(_ request: Request, _ context: APIContext) async throws -> Response {
        try noQuery(request)
        return try .json(try await Places(store).view(try await store.group(try parameter("group", context))))
    }

    @Sendable func deleteGroup(_ request: Request, _ context: APIContext) async throws -> Response {
        try await noFields(request)
        try await store.deleteGroup(try parameter("group", context))
        return Response(status: .noContent)
    }

    @Sendable func addToGroup(_ request: Request, _ context: APIContext) async throws -> Response {
        var fields = try await fields(request)
        let reference = try fields.requiredString("server", "web1")
        try fields.finish()
        let server: Server
        do {
            server = try await store.server(reference)
        } catch let error as StoreError where error.code == .notFound {
            throw Problem.notFound(error.message, field: "server")
        }
        return try .json(try await Places(store).view(try await store.addToGroup(try parameter("group", context), server: server.id)))
    }

    @Sendable func removeFromGroup(_ request: Request, _ context: APIContext) async throws -> Response {
        try await noFields(request)
        let server = try await store.server(try parameter("server", context))
        return try .json(try await Places(store).view(try await store.removeFromGroup(try parameter("group", context), server: server.id)))
    }

    /// Where every server is, by name.
    private struct Places {
        private let hosts: [ServerID: Named]

        init(_ store: Store) async throws {
            let names = Dictionary(try await store.hosts().map { ($0.id, $0.name) }) { first, _ in first }
            hosts = Dictionary(
                try await store.servers(ServerFilter()).map { ($0.id, Named(id: $0.host.value, name: names[$0.host] ?? "")) }
            ) { first, _ in first }
        }

        func view(_ group: ServerGroup) -> GroupView {
            let members = group.members.map { member in
                GroupView.MemberView(
                    server: Named(id: member.server.value, name: member.name), host: hosts[member.server] ?? Named(id: "", name: ""))
            }
            let used = Set(members.map(\.host.id)).count
            return GroupView(
                id: group.id.value, name: group.name, policy: group.policy, members: members,
                isKept: group.policy == .apart ? used == members.count : used <= 1, createdAt: WireTime(group.createdAt))
        }
    }
}
