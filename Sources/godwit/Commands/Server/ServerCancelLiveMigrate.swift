import ArgumentParser
import Client
import Output

struct ServerCancelLiveMigrate: ControllerCommand {
    static let configuration = CommandConfiguration(
        abstract: "Cancel the live migrations of servers, in whatever state they are.",
        usage: Usage.line("server-cancel-live-migrate", ["--wait", "--wait-timeout TIME"], "<ID> ..."),
        discussion: """
            The servers run on where they are, and nothing is left on the targets. Answers when it was asked for; with --wait when it is \
            done. One that has switched over already goes through. Exit code 1 if any could not be cancelled.
            """)

    @Argument(help: ArgumentHelp("IDs or names of servers.", valueName: "ID"), completion: Completions.servers)
    var servers: [String]

    @OptionGroup var waiting: CancelWaitOptions
    @OptionGroup var output: OutputOptions
    @OptionGroup var connection: ConnectionOptions

    func run(_ client: GodwitClient) async throws {
        try await Cancelling(client: client, waiting: waiting).run(servers, output.output) { try await client.cancelLiveMigrate($0) }
    }
}
