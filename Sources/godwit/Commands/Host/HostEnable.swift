import ArgumentParser
import Client
import Output

struct HostEnable: ControllerCommand {
    static let configuration = CommandConfiguration(abstract: "Let servers be placed on a host again.")

    @Argument(help: ArgumentHelp("ID or name of the host.", valueName: "ID"), completion: Completions.hosts)
    var host: String

    @OptionGroup var output: OutputOptions
    @OptionGroup var connection: ConnectionOptions

    func run(_ client: GodwitClient) async throws {
        let host = try await client.enableHost(host)
        try output.output.print(host, table: HostTables.one(host))
    }
}
