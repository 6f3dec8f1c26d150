import ArgumentParser
import Client
import Output

struct HostRegister: ControllerCommand {
    static let configuration = CommandConfiguration(
        abstract: "Add a host by its agent's address, or tell that the host of that name has moved to another address.")

    @Argument(help: "Name of the host, as its agent's certificate says.")
    var name: String

    @Argument(help: ArgumentHelp("Address of its agent: https://10.0.0.1:7070.", valueName: "url"))
    var agentURL: String

    @OptionGroup var output: OutputOptions
    @OptionGroup var connection: ConnectionOptions

    func run(_ client: GodwitClient) async throws {
        let host = try await client.registerHost(RegisterHostRequest(name: name, agentURL: agentURL))
        try output.output.print(host, table: HostTables.one(host))
    }
}
