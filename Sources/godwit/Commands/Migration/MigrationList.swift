import ArgumentParser
import Client
import Fleet
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

    @Option(help: "Only those of this server (id or name).", completion: Completions.servers)
    var server: String?

    @Option(help: "Only those from or to this host (id or name).", completion: Completions.hosts)
    var host: String?

    @Option(help: "Only those of this batch (id or name).", completion: Completions.batches)
    var batch: String?

    @Option(
        name: [.customLong("state"), .customLong("status")],
        help: ArgumentHelp(
            "Only those in this state; can be given several times: \(Choices.list(MigrationState.self)).", valueName: "state"),
        completion: .list(MigrationState.allCases.map(\.rawValue)),
        transform: { try Choices.parse($0, as: MigrationState.self, field: "state") })
    var states: [MigrationState] = []

    @Option(
        name: .customLong("mode"),
        help: ArgumentHelp("Only those in this mode; can be given several times: \(Choices.list(Mode.self)).", valueName: "mode"),
        completion: .list(Mode.allCases.map(\.rawValue)),
        transform: { try Choices.parse($0, as: Mode.self, field: "mode") })
    var modes: [Mode] = []

    @Option(
        name: .customLong("reason"),
        help: ArgumentHelp("Only with this reason's code, such as target-lost; can be given several times.", valueName: "code"))
    var reasons: [String] = []

    @Option(help: "Only those that this person submitted.")
    var actor: String?

    @Option(
        help: ArgumentHelp(
            "Only those submitted from then on: a time ago (90s, 12h, 7d), 2026-03-01, or 2026-03-01T12:00:00Z.", valueName: "time"),
        transform: { try Moment.parse($0, field: "since") })
    var since: WireTime?

    @Option(
        help: ArgumentHelp("Only those submitted before then; in the same words.", valueName: "time"),
        transform: { try Moment.parse($0, field: "until") })
    var until: WireTime?

    @Option(help: ArgumentHelp("Only those that come after the migration of this ID in the list.", valueName: "id"))
    var before: String?

    @OptionGroup var list: ListOptions
    @OptionGroup var output: OutputOptions
    @OptionGroup var connection: ConnectionOptions

    func validate() throws {
        if let since, let until, since >= until { throw ValidationError("--since must be before --until.") }
    }

    func run() async throws {
        _ = try list.chosen(of: MigrationView.self)
        try await connection.withClient { try await run($0) }
    }

    func run(_ client: GodwitClient) async throws {
        let query = MigrationQuery(
            server: server, host: host, batch: batch, states: states, modes: modes, reasons: reasons, actor: actor, since: since,
            until: until, list: list.query, before: before)
        let page = try await client.migrations(query)
        try MigrationTables.columns.print(page, list, as: output.output, after: page.next.map { "More: --before \($0)\n" } ?? "")
    }
}
