import ArgumentParser
import Client
import Fleet
import Output

struct MigrationWatch: ControllerCommand {
    static let configuration = CommandConfiguration(
        abstract: "Follow a migration to its end; exit code 1 if it failed.",
        discussion: "On a terminal a bar is redrawn in place; elsewhere there is a line at each change and every other second.")

    @Argument(help: ArgumentHelp("ID of the migration, or the beginning of it.", valueName: "ID"), completion: Completions.migrations)
    var migration: String

    @OptionGroup var output: OutputOptions
    @OptionGroup var connection: ConnectionOptions

    func run(_ client: GodwitClient) async throws {
        let watch = MigrationWatching(client: client, migration: migration, patience: nil)
        let ended = try await watch.follow(on: output.display)
        if output.output != .table { try output.output.print(ended, table: "") }
        try MigrationWatching.requireReady(ended)
    }
}
