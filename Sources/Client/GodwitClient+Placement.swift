import NIOHTTP1

// MARK: where servers go

extension GodwitClient {
    /// How long a forecast may take, which watches the guest and tries the way between two hosts.
    package static let forecastDeadline = Duration.seconds(120)

    /// Where a server could go and what that would take. Nothing is submitted.
    package func forecast(_ reference: String, _ request: ForecastRequest = ForecastRequest()) async throws -> ForecastView {
        try await send(
            .POST, "/v1/servers/\(escaped(reference))/migrate-forecast", body: request, deadline: Self.forecastDeadline)
    }

    /// Nothing is placed there until the maintenance ends, and its servers begin to leave, where that is wanted.
    package func beginMaintenance(_ host: String, drain: Bool) async throws -> HostView {
        try await send(.POST, "/v1/hosts/\(escaped(host))/maintenance", body: MaintenanceRequest(drain: drain))
    }

    package func endMaintenance(_ host: String) async throws -> HostView {
        try await send(.POST, "/v1/hosts/\(escaped(host))/unmaintenance", body: Nothing())
    }

    /// Whether the host's servers on shared storage are started elsewhere when it is proven dead.
    package func setAutoMigration(_ host: String, _ request: AutoMigrateRequest) async throws -> HostView {
        try await send(.POST, "/v1/hosts/\(escaped(host))/auto-migrate-on-host-down", body: request)
    }

    package func limitHost(_ host: String, _ request: HostLimitsRequest) async throws -> HostView {
        try await send(.PATCH, "/v1/hosts/\(escaped(host))", body: request)
    }

    package func groups() async throws -> Page<GroupView> {
        try await get("/v1/server-groups")
    }

    package func group(_ reference: String) async throws -> GroupView {
        try await get("/v1/server-groups/\(escaped(reference))")
    }

    package func createGroup(_ request: CreateGroupRequest) async throws -> GroupView {
        try await send(.POST, "/v1/server-groups", body: request)
    }

    /// Its servers stay where they are.
    package func deleteGroup(_ reference: String) async throws {
        _ = try await perform(.DELETE, "/v1/server-groups/\(escaped(reference))", body: nil, deadline: Self.ordinaryDeadline)
    }

    package func addToGroup(_ reference: String, server: String) async throws -> GroupView {
        try await send(.POST, "/v1/server-groups/\(escaped(reference))/servers", body: GroupServerRequest(server: server))
    }

    package func removeFromGroup(_ reference: String, server: String) async throws -> GroupView {
        try await send(.DELETE, "/v1/server-groups/\(escaped(reference))/servers/\(escaped(server))", body: Nothing())
    }
}
