import ArgumentParser
import Client
import Fleet
import Output

struct ServerGroupShow: ControllerCommand {
    static let configuration = CommandConfiguration(
        abstract: "Show a server group.")

    @Argument(help: ArgumentHelp("ID or name of the group.", valueName: "GROUP"))
    var group: String

    @OptionGroup var output: OutputOptions
    @OptionGroup var connection: ConnectionOptions

    func run(_ client: GodwitClient) async throws {
        let group = try await client.group(group)
        try output.output.print(group, table: GroupTables.one(group))
    }
}
