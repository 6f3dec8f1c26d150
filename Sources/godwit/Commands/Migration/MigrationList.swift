import ArgumentParser
import Client
import Output

struct MigrationList: ControllerCommand {
    static let configuration = CommandConfiguration(
        abstract: "List migrations, newest first.",
        usage: Usage.line(
            "migration-list",
            [
                "--server SERVER", "--host HOST", "--batch BATCH", "--state STATE", "--mode MODE", "--reason CODE", "--actor ACTOR",
                "--since TIME", "--until TIME", "--before ID",
            ] + Usage.list),
        discussion: """
            There may be very many: they are ordered by the time of their submit, or with --order-by finished_at those that have ended by \
            that of their end; where more are left the line below the table says how to go on.
            """)

    @OptionGroup var selection: MigrationSelection

    @Option(help: ArgumentHelp("Only those that come after the migration of this ID in the list.", valueName: "id"))
    var before: String?

    @OptionGroup var list: ListOptions
    @OptionGroup var output: OutputOptions
    @OptionGroup var connection: ConnectionOptions

    func run() async throws {
        _ = try list.chosen(of: MigrationView.self)
        try await connection.withClient { try await run($0) }
    }

    func run(_ client: GodwitClient) async throws {
        let query = MigrationQuery(
            server: selection.server, host: selection.host, batch: selection.batch, states: selection.states, modes: selection.modes,
            reasons: selection.reasons, actor: selection.actor, since: selection.since, until: selection.until, list: list.query,
            before: before)
        let page = try await client.migrations(query)
        try MigrationTables.columns.print(page, list, as: output.output, after: page.next.map { "More: --before \($0)\n" } ?? "")
    }
}
