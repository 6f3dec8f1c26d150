import ArgumentParser
import Fleet
import Store

/// One batch of all running servers, as a person submits it.
struct Submit: AsyncParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Submit all running servers as one batch.")

    @OptionGroup var place: Place

    func run() async throws {
        try await place.with { store in
            let servers = try await store.servers(ServerFilter(status: .running)).map(\.id.value)
            let draft = BatchDraft(name: "bench", actor: "bench", token: "bench", digest: "bench", servers: servers)
            let begun = ContinuousClock.now
            let receipt = try await store.submitBatch(draft)
            let seconds = (ContinuousClock.now - begun).seconds
            tell(["seconds": seconds, "lines": Double(receipt.batch.total)])
        }
    }
}
