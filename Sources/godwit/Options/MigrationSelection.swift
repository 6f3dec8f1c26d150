import ArgumentParser
import Client
import Fleet

/// Which migrations, or which rows of their history, are asked about.
struct MigrationSelection: ParsableArguments {
    @Option(help: "Only of this server (id or name; the id also of one that is gone).", completion: Completions.servers)
    var server: String?

    @Option(help: "Only from or to this host (id or name).", completion: Completions.hosts)
    var host: String?

    @Option(help: "Only of this batch (id or name).", completion: Completions.batches)
    var batch: String?

    @Option(
        name: [.customLong("state"), .customLong("status")],
        help: ArgumentHelp(
            "Only in this state, of the history what led to it; can be given several times: \(Choices.list(MigrationState.self)).",
            valueName: "state"), completion: .list(MigrationState.allCases.map(\.rawValue)),
        transform: { try Choices.parse($0, as: MigrationState.self, field: "state") })
    var states: [MigrationState] = []

    @Option(
        name: .customLong("mode"),
        help: ArgumentHelp("Only in this mode; can be given several times: \(Choices.list(Mode.self)).", valueName: "mode"),
        completion: .list(Mode.allCases.map(\.rawValue)), transform: { try Choices.parse($0, as: Mode.self, field: "mode") })
    var modes: [Mode] = []

    @Option(
        name: .customLong("reason"),
        help: ArgumentHelp("Only with this reason's code, such as target-lost; can be given several times.", valueName: "code"))
    var reasons: [String] = []

    @Option(help: "Only what this person submitted; of the history what this person or worker did.")
    var actor: String?

    @Option(
        help: ArgumentHelp(
            "Only from then on: a time ago (90s, 12h, 7d), 2026-03-01, or 2026-03-01T12:00:00Z. Of a migration its submit counts, in history-stats its end.",
            valueName: "time"),
        transform: { try Moment.parse($0, field: "since") })
    var since: WireTime?

    @Option(
        help: ArgumentHelp("Only before then; in the same words.", valueName: "time"), transform: { try Moment.parse($0, field: "until") })
    var until: WireTime?

    func validate() throws {
        if let since, let until, since >= until { throw ValidationError("--since must be before --until.") }
    }
}
