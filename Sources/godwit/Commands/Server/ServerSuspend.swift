import ArgumentParser
import Client
import Output

struct ServerSuspend: ControllerCommand {
    static let configuration = CommandConfiguration(
        abstract: "Suspend a running server: it stays in memory and executes nothing; answers when it stands still.",
        discussion: """
            It is shown as suspend. It can be migrated live, arrives suspended, and goes on with server-resume. A suspended server cannot hear its \
            power button: server-stop needs --force.
            """)

    @Argument(help: ArgumentHelp("ID or name of the server.", valueName: "ID"))
    var server: String

    @OptionGroup var output: OutputOptions
    @OptionGroup var connection: ConnectionOptions

    func run(_ client: GodwitClient) async throws {
        let server = try await client.suspendServer(server)
        try output.output.print(server, table: ServerTables.one(server))
    }
}
