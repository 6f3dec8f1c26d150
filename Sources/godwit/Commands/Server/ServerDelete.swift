import ArgumentParser
import Client
import Output

struct ServerDelete: ControllerCommand {
    static let configuration = CommandConfiguration(
        abstract: "Delete a server that is off, with its disks. At once: nobody is asked again.")

    @Argument(help: ArgumentHelp("ID or name of the server.", valueName: "ID"), completion: Completions.servers)
    var server: String

    @OptionGroup var output: OutputOptions
    @OptionGroup var connection: ConnectionOptions

    func run(_ client: GodwitClient) async throws {
        let last = try await client.server(server)
        // By id: a name could be another's by now.
        try await client.deleteServer(last.id)
        try output.output.print(last, table: "Server \(last.name) (\(last.id)) is deleted.\n")
    }
}
