import ArgumentParser
import Client
import Output

struct ServerResume: ControllerCommand {
    static let configuration = CommandConfiguration(
        abstract: "Resume a suspended server; answers when it runs.")

    @Argument(help: ArgumentHelp("ID or name of the server.", valueName: "ID"))
    var server: String

    @OptionGroup var output: OutputOptions
    @OptionGroup var connection: ConnectionOptions

    func run(_ client: GodwitClient) async throws {
        let server = try await client.resumeServer(server)
        try output.output.print(server, table: ServerTables.one(server))
    }
}
