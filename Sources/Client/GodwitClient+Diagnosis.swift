import NIOHTTP1

extension GodwitClient {
    /// Compares the store with what every host tells; takes some seconds.
    package func diagnosis() async throws -> DiagnosisView {
        try await get("/v1/diagnosis", deadline: Self.operationDeadline)
    }

    /// The same, and does what is safe about what it finds.
    package func fixDiagnosed() async throws -> DiagnosisView {
        try await send(.POST, "/v1/diagnosis/fix", body: Nothing(), deadline: Self.operationDeadline)
    }
}
