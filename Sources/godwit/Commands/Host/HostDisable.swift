import ArgumentParser
import Client
import Output

struct HostDisable: ControllerCommand {
    static let configuration = CommandConfiguration(abstract: "Place nothing new on a host; what runs there stays.")

    @Argument(help: ArgumentHelp("ID or name of the host.", valueName: "ID"), completion: Completions.hosts)
    var host: String

    @OptionGroup var output: OutputOptions
    @OptionGroup var connection: ConnectionOptions

    func run(_ client: GodwitClient) async throws {
        let host = try await client.disableHost(host)
        try output.output.print(host, table: HostTables.one(host))
    }
}
