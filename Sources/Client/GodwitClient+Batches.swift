package import Fleet
import NIOHTTP1

// MARK: batches

extension GodwitClient {
    /// How long the submit of a hundred thousand servers may take.
    package static let batchDeadline = Duration.seconds(300)

    /// Accepts many migrations at once, or none. Give it a token, and it can be asked again when no answer came.
    package func submitBatch(_ request: BatchRequest) async throws -> BatchView {
        try await send(.POST, "/v1/batches", body: request, deadline: Self.batchDeadline)
    }

    /// What a batch would do. Nothing is submitted.
    package func planBatch(_ request: BatchRequest) async throws -> BatchPlanView {
        try await send(.POST, "/v1/batches/plan", body: request, deadline: Self.batchDeadline)
    }

    /// Newest first, unless the query says otherwise.
    package func batches(_ query: ListQuery = ListQuery(), status: BatchStatus? = nil) async throws -> Page<BatchView> {
        try await get("/v1/batches", query.parameters + [("status", status?.rawValue)])
    }

    package func batch(_ reference: String) async throws -> BatchView {
        try await get("/v1/batches/\(escaped(reference))")
    }

    /// Nothing more of it begins; what is under way goes on.
    package func pauseBatch(_ reference: String) async throws -> BatchView {
        try await send(.POST, "/v1/batches/\(escaped(reference))/pause", body: Nothing())
    }

    package func resumeBatch(_ reference: String) async throws -> BatchView {
        try await send(.POST, "/v1/batches/\(escaped(reference))/resume", body: Nothing())
    }

    package func cancelBatch(_ reference: String) async throws -> BatchView {
        try await send(.POST, "/v1/batches/\(escaped(reference))/cancel", body: Nothing(), deadline: Self.batchDeadline)
    }

    /// Answers with a new batch, of the servers that failed in this one.
    package func retryBatch(_ reference: String, _ request: RetryBatchRequest = RetryBatchRequest()) async throws -> BatchView {
        try await send(.POST, "/v1/batches/\(escaped(reference))/retry", body: request, deadline: Self.batchDeadline)
    }

    /// How many migrations may be under way at once in the whole cluster, and how many are.
    package func queueLimits() async throws -> QueueView {
        try await get("/v1/queue-limits")
    }

    package func setQueueLimits(_ request: QueueLimitsRequest) async throws -> QueueView {
        try await send(.PUT, "/v1/queue-limits", body: request)
    }
}
