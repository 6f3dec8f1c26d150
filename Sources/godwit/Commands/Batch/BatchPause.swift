import ArgumentParser
import Client
import Output

struct BatchPause: ControllerCommand {
    static let configuration = CommandConfiguration(
        abstract: "Have nothing more of a batch begin.",
        discussion: "What is under way goes on.")

    @Argument(help: ArgumentHelp("ID or name of the batch.", valueName: "ID"), completion: Completions.batches)
    var batch: String

    @OptionGroup var output: OutputOptions
    @OptionGroup var connection: ConnectionOptions

    func run(_ client: GodwitClient) async throws {
        let batch = try await client.pauseBatch(batch)
        try output.output.print(batch, table: BatchTables.one(batch))
    }
}
