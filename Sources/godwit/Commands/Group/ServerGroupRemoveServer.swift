import ArgumentParser
import Client
import Fleet
import Output

struct ServerGroupRemoveServer: ControllerCommand {
    static let configuration = CommandConfiguration(
        abstract: "Make a server a member of a group no more.")

    @Argument(help: ArgumentHelp("ID or name of the group.", valueName: "GROUP"))
    var group: String

    @Argument(help: ArgumentHelp("ID or name of the server.", valueName: "ID"))
    var server: String

    @OptionGroup var output: OutputOptions
    @OptionGroup var connection: ConnectionOptions

    func run(_ client: GodwitClient) async throws {
        let group = try await client.removeFromGroup(group, server: server)
        try output.output.print(group, table: GroupTables.one(group))
    }
}
