import ArgumentParser
import Client
import Fleet

struct MigrationList: ControllerCommand {
    static let configuration = CommandConfiguration(abstract: "List migrations, newest first.")

    @Option(help: "Only those of this server (id or name).")
    var server: String?

    @Option(help: "Only those from or to this host (id or name).")
    var host: String?

    @Option(
        name: .customLong("state"),
        help: ArgumentHelp(
            "Only those in this state; can be given several times: \(Choices.list(MigrationState.self)).", valueName: "state"),
        transform: { try Choices.parse($0, as: MigrationState.self, field: "state") })
    var states: [MigrationState] = []

    @Option(help: "At most so many, 1 to 1000.")
    var limit = 20

    @Option(help: ArgumentHelp("Only those older than the migration of this ID.", valueName: "id"))
    var before: String?

    @OptionGroup var output: OutputOptions
    @OptionGroup var connection: ConnectionOptions

    func validate() throws {
        guard (1...1000).contains(limit) else { throw ValidationError("--limit must be from 1 to 1000.") }
    }

    func run(_ client: GodwitClient) async throws {
        let page = try await client.migrations(
            MigrationQuery(server: server, host: host, states: states, limit: limit, before: before))
        let more = page.next.map { "More: --before \($0)\n" } ?? ""
        let footer =
            page.total == nil && page.next != nil
            ? "***  Shown: \(page.items.count)  ***"
            : Table.footer(shown: page.items.count, total: page.total ?? page.items.count, limit: nil)
        try output.output.print(page.items, table: MigrationTables.list(page.items) + footer + "\n" + more)
    }
}
