import ArgumentParser
import Client
import Foundation
import Output

struct BatchRetry: ControllerCommand {
    static let configuration = CommandConfiguration(
        abstract: "Try what failed of a batch again, as a new batch.",
        discussion: """
            The new batch has the limits and options of the old one, which stays as it is with its history. It takes the servers whose \
            migration failed, not those that were cancelled, and none that was in another migration since: given twice, it tries nothing twice.
            """)

    @Argument(help: ArgumentHelp("ID or name of the batch.", valueName: "ID"), completion: Completions.batches)
    var batch: String

    @Flag(help: "Leave servers out that cannot be taken now, and take the rest.")
    var skipInvalid = false

    @Option(
        help: ArgumentHelp(
            "Names this submit: given again, it brings the same batch back. One of its own when left out.", valueName: "TOKEN"))
    var clientToken: String?

    @OptionGroup var waiting: WaitOptions
    @OptionGroup var output: OutputOptions
    @OptionGroup var connection: ConnectionOptions

    func run(_ client: GodwitClient) async throws {
        let request = RetryBatchRequest(
            token: clientToken ?? "cli-\(UUID().uuidString.lowercased())", skipInvalid: skipInvalid ? true : nil)
        let accepted: BatchView
        do {
            accepted = try await client.retryBatch(batch, request)
        } catch let error as ClientError {
            guard let flaws = error.problem?.lines else { throw error }
            try output.output.print(flaws, table: BatchTables.lines(flaws, nil))
            throw error
        }
        try await BatchWatching.show(accepted, client, waiting, output.output)
    }
}
