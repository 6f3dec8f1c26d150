import ArgumentParser
import Fleet
import Store

/// One batch of all running servers, as a person submits it.
struct Submit: AsyncParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Submit all running servers as one batch.")
    static let name = "bench"

    @OptionGroup var place: Place

    func run() async throws {
        try await place.with { store in
            let servers = try await store.servers(ServerFilter(status: .running)).map(\.id.value)
            let draft = BatchDraft(name: Self.name, actor: "bench", token: "bench", digest: "bench", servers: servers)
            let begun = ContinuousClock.now
            let receipt = try await store.submitBatch(draft)
            tell(["seconds": (ContinuousClock.now - begun).seconds, "lines": Double(receipt.batch.total)])
        }
    }
}

/// The end of that batch, of which nothing has begun.
struct CancelSubmitted: AsyncParsableCommand {
    static let configuration = CommandConfiguration(commandName: "cancel", abstract: "Cancel the submitted batch.")

    @OptionGroup var place: Place

    func run() async throws {
        try await place.with { store in
            let batch = try await store.batch(Submit.name)
            let begun = ContinuousClock.now
            let cancelled = try await store.cancelBatch(batch.id, actor: "bench")
            guard cancelled.finishedAt != nil else { throw BenchFailure("the batch is not over") }
            tell(["seconds": (ContinuousClock.now - begun).seconds])
        }
    }
}
