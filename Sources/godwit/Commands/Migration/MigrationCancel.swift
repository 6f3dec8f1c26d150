import ArgumentParser
import Client
import Output

struct MigrationCancel: ControllerCommand {
    static let configuration = CommandConfiguration(
        abstract: "Cancel migrations of any mode, in whatever state they are.",
        usage: Usage.line("migration-cancel", ["--wait", "--wait-timeout TIME"], "<ID> ..."),
        discussion: """
            Their servers stay where and what they are, and nothing is left on the targets. Answers when it was asked for; with --wait when \
            it is done. One that has switched over already goes through. Exit code 1 if any could not be cancelled.
            """)

    @Argument(
        help: ArgumentHelp("IDs of migrations, or their beginnings.", valueName: "ID"), completion: Completions.unfinishedMigrations)
    var migrations: [String]

    @OptionGroup var waiting: CancelWaitOptions
    @OptionGroup var output: OutputOptions
    @OptionGroup var connection: ConnectionOptions

    func run(_ client: GodwitClient) async throws {
        try await Cancelling(client: client, waiting: waiting).run(migrations, output.output) { try await client.cancelMigration($0) }
    }
}
