import ArgumentParser
import Client
import Output

struct BatchCancel: ControllerCommand {
    static let configuration = CommandConfiguration(
        abstract: "Cancel what is unfinished of a batch.",
        discussion: "What has not begun is over at once; what is under way is asked to end, its servers staying where and what they are.")

    @Argument(help: ArgumentHelp("ID or name of the batch.", valueName: "ID"), completion: Completions.batches)
    var batch: String

    @OptionGroup var output: OutputOptions
    @OptionGroup var connection: ConnectionOptions

    func run(_ client: GodwitClient) async throws {
        let batch = try await client.cancelBatch(batch)
        try output.output.print(batch, table: BatchTables.one(batch))
    }
}
