import ArgumentParser
import Client
import Fleet
import Output

struct ServerGroupDelete: ControllerCommand {
    static let configuration = CommandConfiguration(
        abstract: "Delete a server group; its servers stay where they are.")

    @Argument(help: ArgumentHelp("ID or name of the group.", valueName: "GROUP"))
    var group: String

    @OptionGroup var output: OutputOptions
    @OptionGroup var connection: ConnectionOptions

    func run(_ client: GodwitClient) async throws {
        let shown = try await client.group(group)
        try await client.deleteGroup(group)
        try output.output.print(shown, table: GroupTables.one(shown))
    }
}
