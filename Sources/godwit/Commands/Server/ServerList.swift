import ArgumentParser
import Client
import Fleet

struct ServerList: ControllerCommand {
    static let configuration = CommandConfiguration(abstract: "List servers.")

    @Option(help: ArgumentHelp("Only those with this in their name or id.", valueName: "text"))
    var search: String?

    @Flag(help: "More columns.")
    var details = false

    @Option(help: "system, domain, project, user or max, as in climc. There is one project yet, so all show the same.")
    var scope: Scope?

    @Option(help: "Only those on this host (id or name).")
    var host: String?

    @Option(
        help: ArgumentHelp("Only those in this status: \(Choices.list(ShownStatus.self)).", valueName: "status"),
        transform: { try Choices.parse($0, as: ShownStatus.self, field: "status") })
    var status: ShownStatus?

    @Option(help: "At most so many.")
    var limit: Int?

    @OptionGroup var output: OutputOptions
    @OptionGroup var connection: ConnectionOptions

    /// Whose servers are shown, in climc's words.
    enum Scope: String, CaseIterable, ExpressibleByArgument {
        case system, domain, project, user, max
    }

    func validate() throws {
        if let limit, limit < 1 { throw ValidationError("--limit must be at least 1.") }
    }

    func run(_ client: GodwitClient) async throws {
        let servers = try await client.servers(search: search, host: host, status: status).items
        let shown = Array(servers.prefix(limit ?? servers.count))
        try output.output.print(
            shown,
            table: ServerTables.list(shown, details: details)
                + Table.footer(shown: shown.count, total: servers.count, limit: limit) + "\n")
    }
}
