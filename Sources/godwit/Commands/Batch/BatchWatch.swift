import ArgumentParser
import Client
import Output

struct BatchWatch: ControllerCommand {
    static let configuration = CommandConfiguration(
        abstract: "Follow a batch to its end; exit code 1 if anything of it failed or was cancelled.",
        discussion: "On a terminal a bar is redrawn in place; elsewhere there is a line as it moves and every ten seconds.")

    @Argument(help: ArgumentHelp("ID or name of the batch.", valueName: "ID"), completion: Completions.batches)
    var batch: String

    @OptionGroup var output: OutputOptions
    @OptionGroup var connection: ConnectionOptions

    func run(_ client: GodwitClient) async throws {
        let watch = BatchWatching(client: client, batch: batch, patience: nil)
        let ended = try await watch.follow(on: output.display)
        if output.output != .table { try output.output.print(ended, table: "") }
        try BatchWatching.requireReady(ended)
    }
}
