import ArgumentParser
import Client
import Output

struct ServerStart: ControllerCommand {
    static let configuration = CommandConfiguration(abstract: "Start a server; answers when it runs.")

    @Argument(help: ArgumentHelp("ID or name of the server.", valueName: "ID"), completion: Completions.servers)
    var server: String

    @OptionGroup var output: OutputOptions
    @OptionGroup var connection: ConnectionOptions

    func run(_ client: GodwitClient) async throws {
        let server = try await client.startServer(server)
        try output.output.print(server, table: ServerTables.one(server))
    }
}
