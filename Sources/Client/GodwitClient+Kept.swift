import NIOHTTP1

extension GodwitClient {
    /// What failed attempts left on their targets and was kept, newest first.
    package func kept(host: String? = nil) async throws -> Page<KeptView> {
        try await get("/v1/kept", [("host", host)])
    }

    /// Answers when nothing of it is left on its host.
    package func deleteKept(host: String, id: String) async throws {
        _ = try await perform(
            .DELETE, "/v1/hosts/\(escaped(host))/kept/\(escaped(id))", body: nil, deadline: Self.operationDeadline)
    }
}
