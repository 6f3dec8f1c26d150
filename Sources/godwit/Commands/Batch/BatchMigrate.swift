import ArgumentParser
import Client
import Fleet
import Foundation
import Output

struct BatchMigrate: ControllerCommand {
    static let configuration = CommandConfiguration(
        abstract: "Migrate many servers as one batch, taken whole or not at all.",
        usage: Usage.line(
            "batch-migrate",
            [
                "--from-host HOST", "--filter FILTER", "--search TEXT", "--mode auto|live|cold", "--name NAME", "--priority N",
                "--max-parallel N", "--max-failures N|N%", "--start-at TIME", "--skip-invalid", "--client-token TOKEN",
                "--prefer-host HOST",
                "--max-bandwidth-mb N", "--enable-tls", "--auto-start", "--dry-run", "--wait", "--wait-timeout TIME",
            ], "[FILE|-]"),
        discussion: """
            The servers are those that FILE lists (- is standard input), an id or a name a line; what follows a # says nothing. Or they are \
            selected by --from-host, --filter and --search, all of which must hold.

            Lines that cannot be taken are all told at once, and then nothing is taken, unless --skip-invalid leaves them out. The servers \
            begin in the order of the lines (selected ones by name), batches of a higher priority first; of the same priority each next place \
            goes to the batch that has the fewest under way. At --max-failures the rest is held until batch-resume.

            Under the same --client-token the same batch is answered again, never a second one. Exit code 1 if anything was refused, with --wait \
            also if one failed.
            """)

    @Argument(
        help: ArgumentHelp("File with an id or a name of a server a line; - is standard input.", valueName: "FILE"), completion: .file())
    var file: String?

    @Option(help: ArgumentHelp("Servers that are on this host (id or name).", valueName: "HOST"), completion: Completions.hosts)
    var fromHost: String?

    @Option(
        name: .customLong("filter"),
        help: ArgumentHelp("Servers that meet this, as in server-list: status=running. Several: all must hold.", valueName: "FILTER"))
    var filters: [String] = []

    @Option(help: ArgumentHelp("Servers with this in their name or id.", valueName: "TEXT"))
    var search: String?

    @Option(
        help: ArgumentHelp(
            "auto: live those that run, cold those that are off; or live or cold for all. auto when left out.", valueName: "mode"),
        completion: .list(BatchMode.allCases.map(\.rawValue)),
        transform: { try Choices.parse($0, as: BatchMode.self, field: "mode") })
    var mode: BatchMode?

    @Option(
        help: ArgumentHelp("What the batch is called: letters, digits, -, _ and . (batch- and the time when left out).", valueName: "NAME"))
    var name: String?

    @OptionGroup var urgency: PriorityOption

    @Option(
        parsing: .unconditional,
        help: ArgumentHelp("At most so many under way at once, 1 to 100000. As many as the hosts take when left out.", valueName: "N"),
        transform: { try Numbers.whole($0, in: 1...100_000, unit: "migrations") })
    var maxParallel: Int64?

    @Option(
        help: ArgumentHelp(
            "Hold the rest at so many failures (3), or at such a share of all (5%). Never when left out.", valueName: "N|N%"),
        transform: { text in
            guard let limit = FailureLimit(text) else {
                throw ValidationError("write a number from 1 to 1000000, or a share from 1% to 100%.")
            }
            return limit
        })
    var maxFailures: FailureLimit?

    @Option(
        help: ArgumentHelp("Begin nothing before: 2026-03-01T22:00:00Z, or in 90s, 5m, 2h, 1d.", valueName: "TIME"),
        transform: { text in
            if let time = WireTime(text) { return time }
            guard let span = TimeSpan.duration(text) else {
                throw ValidationError("write a time like 2026-03-01T22:00:00Z, or how long from now, like 2h.")
            }
            return WireTime(.now + span)
        })
    var startAt: WireTime?

    @Flag(help: "Leave lines out that cannot be taken, and take the rest.")
    var skipInvalid = false

    @Option(
        help: ArgumentHelp(
            "Names this submit: given again, it brings the same batch back. One of its own when left out.", valueName: "TOKEN"))
    var clientToken: String?

    @Option(help: ArgumentHelp("The only target host to be considered, by id or name.", valueName: "HOST"), completion: Completions.hosts)
    var preferHost: String?

    @Option(
        name: .customLong("max-bandwidth-mb"), parsing: .unconditional,
        help: ArgumentHelp("Each of them at most so many MB/s (10⁶ bytes a second), 1 to 1000000.", valueName: "N"),
        transform: { try Numbers.whole($0, in: MigrationBounds.bandwidthMB, unit: "MB/s") })
    var maxBandwidthMB: Int64?

    @Flag(name: .customLong("enable-tls"), help: "Disks and memory travel encrypted, both hosts proven.")
    var enableTLS = false

    @Flag(help: "Those that move cold are started on their new hosts.")
    var autoStart = false

    @Flag(help: "Tell who would go where and in what order, who cannot and why; submit nothing.")
    var dryRun = false

    @OptionGroup var waiting: WaitOptions
    @OptionGroup var output: OutputOptions
    @OptionGroup var connection: ConnectionOptions

    private var isSelection: Bool { fromHost != nil || !filters.isEmpty || search != nil }

    func validate() throws {
        if file != nil, isSelection {
            throw ValidationError("give either FILE or a selection (--from-host, --filter, --search), not both.")
        }
        if file == nil, !isSelection {
            throw ValidationError("name the servers: give FILE, - for standard input, or --from-host, --filter or --search.")
        }
        if dryRun && waiting.wait { throw ValidationError("--wait has no meaning with --dry-run.") }
        if mode == .live && autoStart { throw ValidationError("--auto-start has no meaning with --mode live.") }
    }

    /// - Parameter lines: of the file; nil for a selection.
    func request(_ lines: BatchLines?) -> BatchRequest {
        let selection = BatchRequest.Selection(fromHost: fromHost, filter: filters.isEmpty ? nil : filters, search: search)
        return BatchRequest(
            name: name, servers: lines?.servers, selection: lines == nil ? selection : nil, mode: mode,
            priority: urgency.priority.map { Int($0) },
            maxParallel: maxParallel.map { Int($0) }, maxFailures: maxFailures, startAt: startAt, skipInvalid: skipInvalid ? true : nil,
            // An answer that was lost is asked for again under it.
            token: clientToken ?? "cli-\(UUID().uuidString.lowercased())",
            live: LiveMigrateRequest(preferHost: preferHost, maxBandwidthMB: maxBandwidthMB, enableTLS: enableTLS ? true : nil),
            cold: MigrateRequest(
                preferHost: preferHost, autoStart: autoStart ? true : nil, maxBandwidthMB: maxBandwidthMB, enableTLS: enableTLS ? true : nil
            ))
    }

    /// What the file and the filters say is looked at before anybody is asked.
    func run() async throws {
        let lines = try file.map { try BatchLines.read($0) }
        if !filters.isEmpty {
            do {
                _ = try ListSelection<ServerView>(ListQuery(filters: filters))
            } catch {
                throw CommandFailure.usage("--filter: \(error.message)")
            }
        }
        try await connection.withClient { client in
            if dryRun { try await plan(client, lines) } else { try await submit(client, lines) }
        }
    }

    func run(_ client: GodwitClient) async throws {
        try await submit(client, try file.map { try BatchLines.read($0) })
    }

    private func plan(_ client: GodwitClient, _ lines: BatchLines?) async throws {
        let plan = try await client.planBatch(request(lines))
        try output.output.print(plan, table: BatchTables.plan(plan) + BatchTables.lines(plan.lines, lines?.numbers))
        let staying = plan.moves.count { $0.targetHost == nil }
        let left = plan.lines.count
        guard staying == 0, left == 0 else {
            throw CommandFailure.failed(
                "Of \(plan.moves.count + left) servers \(staying + left) could not go: \(left) lines cannot be taken, \(staying) servers have no host."
            )
        }
    }

    private func submit(_ client: GodwitClient, _ lines: BatchLines?) async throws {
        let accepted: BatchView
        do {
            accepted = try await Self.submit(request(lines), client)
        } catch let error as ClientError {
            guard let flaws = error.problem?.lines else { throw error }
            try output.output.print(flaws, table: BatchTables.lines(flaws, lines?.numbers))
            throw error
        }
        try await BatchWatching.show(accepted, client, waiting, output.output, numbers: lines?.numbers)
    }

    /// No answer is no refusal: under its token it can be asked again.
    private static func submit(_ request: BatchRequest, _ client: GodwitClient) async throws -> BatchView {
        var tries = 0
        while true {
            do {
                return try await client.submitBatch(request)
            } catch let error as ClientError where tries < 4 && (error.code == .unreachable || error.code == .deadline) {
                tries += 1
                // Nothing tells when a controller answers again.
                try await Task.sleep(for: .milliseconds(250 * tries))
            }
        }
    }
}
