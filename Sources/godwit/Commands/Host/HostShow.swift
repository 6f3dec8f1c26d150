import ArgumentParser
import Client
import Output

struct HostShow: ControllerCommand {
    static let configuration = CommandConfiguration(abstract: "Show a host.")

    @Argument(help: ArgumentHelp("ID or name of the host.", valueName: "ID"), completion: Completions.hosts)
    var host: String

    @OptionGroup var output: OutputOptions
    @OptionGroup var connection: ConnectionOptions

    func run(_ client: GodwitClient) async throws {
        let host = try await client.host(host)
        try output.output.print(host, table: HostTables.one(host))
    }
}
