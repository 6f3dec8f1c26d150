import ArgumentParser
import Client
import Fleet
import Output

struct HostUnmaintenance: ControllerCommand {
    static let configuration = CommandConfiguration(
        abstract: "End the maintenance of a host: servers may be placed on it again.")

    @Argument(help: ArgumentHelp("ID or name of the host.", valueName: "ID"))
    var host: String

    @OptionGroup var output: OutputOptions
    @OptionGroup var connection: ConnectionOptions

    func run(_ client: GodwitClient) async throws {
        let host = try await client.endMaintenance(host)
        try output.output.print(host, table: HostTables.one(host))
    }
}
