import ArgumentParser
import Client
import Output

struct BatchShow: ControllerCommand {
    static let configuration = CommandConfiguration(
        abstract: "Show a batch: its migrations counted by state, and how long it will take.",
        discussion: "Its migrations are listed by migration-list --batch.")

    @Argument(help: ArgumentHelp("ID or name of the batch.", valueName: "ID"), completion: Completions.batches)
    var batch: String

    @OptionGroup var output: OutputOptions
    @OptionGroup var connection: ConnectionOptions

    func run(_ client: GodwitClient) async throws {
        let batch = try await client.batch(batch)
        try output.output.print(batch, table: BatchTables.one(batch) + BatchTables.lines(batch.lines ?? [], nil))
    }
}
