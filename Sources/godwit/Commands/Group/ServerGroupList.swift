import ArgumentParser
import Client
import Fleet
import Output

struct ServerGroupList: ControllerCommand {
    static let configuration = CommandConfiguration(
        abstract: "List server groups.")

    @OptionGroup var output: OutputOptions
    @OptionGroup var connection: ConnectionOptions

    func run(_ client: GodwitClient) async throws {
        let groups = try await client.groups().items
        try output.output.print(
            groups, table: GroupTables.list(groups) + Table.footer(total: groups.count, shown: groups.count) + "\n")
    }
}
