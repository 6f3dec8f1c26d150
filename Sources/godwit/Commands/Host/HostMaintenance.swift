import ArgumentParser
import Client
import Fleet
import Output

struct HostMaintenance: ControllerCommand {
    static let configuration = CommandConfiguration(
        abstract: "Place nothing on a host until host-unmaintenance; what runs there stays.",
        discussion: """
            The host is not drained: its servers stay where they are until somebody migrates them.
            """)

    @Argument(help: ArgumentHelp("ID or name of the host.", valueName: "ID"))
    var host: String

    @OptionGroup var output: OutputOptions
    @OptionGroup var connection: ConnectionOptions

    func run(_ client: GodwitClient) async throws {
        let host = try await client.beginMaintenance(host)
        try output.output.print(host, table: HostTables.one(host))
    }
}
