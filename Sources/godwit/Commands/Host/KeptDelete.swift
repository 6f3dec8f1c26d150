import ArgumentParser
import Client

struct KeptDelete: ControllerCommand {
    static let configuration = CommandConfiguration(abstract: "Delete what was kept of a failed live migration.")

    @Argument(help: ArgumentHelp("ID or name of the host.", valueName: "HOST"))
    var host: String

    @Argument(help: ArgumentHelp("ID as kept-list shows it.", valueName: "ID"))
    var id: String

    @OptionGroup var connection: ConnectionOptions

    func run(_ client: GodwitClient) async throws {
        try await client.deleteKept(host: host, id: id)
    }
}
