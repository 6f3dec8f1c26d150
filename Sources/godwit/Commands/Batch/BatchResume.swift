import ArgumentParser
import Client
import Output

struct BatchResume: ControllerCommand {
    static let configuration = CommandConfiguration(
        abstract: "Let a batch go on that was paused or held.",
        discussion: "Its failures so far are forgiven: it is held again after as many more as --max-failures allows.")

    @Argument(help: ArgumentHelp("ID or name of the batch.", valueName: "ID"), completion: Completions.batches)
    var batch: String

    @OptionGroup var output: OutputOptions
    @OptionGroup var connection: ConnectionOptions

    func run(_ client: GodwitClient) async throws {
        let batch = try await client.resumeBatch(batch)
        try output.output.print(batch, table: BatchTables.one(batch))
    }
}
