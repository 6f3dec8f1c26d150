import ArgumentParser
import Client
import Fleet
import Output

struct ServerGroupCreate: ControllerCommand {
    static let configuration = CommandConfiguration(
        abstract: "Make a group of servers that must not share a host, or must.",
        discussion: """
            The policy is obeyed whenever a server of the group is placed; servers are not moved to make it hold.
            """)

    @Argument(help: "Name of the group.")
    var name: String

    @Option(
        help: ArgumentHelp("apart: no two of its servers on one host; together: all of them on one.", valueName: "policy"),
        transform: { try Choices.parse($0, as: ServerGroup.Policy.self, field: "policy") })
    var policy: ServerGroup.Policy

    @OptionGroup var output: OutputOptions
    @OptionGroup var connection: ConnectionOptions

    func run(_ client: GodwitClient) async throws {
        let group = try await client.createGroup(CreateGroupRequest(name: name, policy: policy))
        try output.output.print(group, table: GroupTables.one(group))
    }
}
