import AgentAPI
import Engine
import Fleet
import Steps

/// Follows the source's end of an attempt by long polls: tells progress, notes the agent's events, hands on what somebody
/// changes about the migration meanwhile.
struct Following {
    private let context: StepContext
    private let source: AgentLink
    private let settings: StepSettings
    private let memoryBytes: Int64
    private let step: String
    private let broughtBytes: Int64
    private var eta: SteadyETA
    private var eventsNoted: Int
    /// What the last order was about.
    private var ordered: MigrationOptions
    /// Gives the step's order with these options.
    private let order: (MigrationOptions) async throws -> OutgoingReport
    private(set) var last: OutgoingReport

    /// How many of the agent's events stand in the history already.
    struct Memory: Codable {
        var eventsNoted: Int
    }

    /// Gives the step's order and takes the answer in.
    ///
    /// - Parameter order: gives it, now and whenever the options are others.
    init(
        step: String, source: AgentLink, context: StepContext, settings: StepSettings, memoryBytes: Int64,
        order: @escaping (MigrationOptions) async throws -> OutgoingReport
    ) async throws {
        self.context = context
        self.source = source
        self.settings = settings
        self.memoryBytes = memoryBytes
        self.step = step
        broughtBytes = try CopyBasesStep.brought(context)
        self.order = order
        ordered = await context.options()
        last = try await order(ordered)
        eta = SteadyETA(told: context.migration.progress?.etaMS)
        // Events are the attempt's, not the step's: what an earlier step noted stands.
        let memories = try context.journal.map(\.step).compactMap { try context.output(of: $0, as: Noted.self)?.eventsNoted }
        eventsNoted = memories.max() ?? 0
        try await take(last)
    }

    /// Any step's output, as far as it tells how many events were noted.
    private struct Noted: Decodable {
        var eventsNoted: Int?
    }

    var memory: Memory { Memory(eventsNoted: eventsNoted) }

    /// Takes a report in: writes what is new in it.
    mutating func take(_ report: OutgoingReport) async throws {
        last = report
        var progress = report.progress.adding(bases: broughtBytes)
        progress.etaMS = eta.next(progress, memoryBytes: memoryBytes)
        last.progress = progress
        if report.events.count > eventsNoted {
            let new = Array(report.events[eventsNoted...])
            eventsNoted = report.events.count
            try await context.note(new, output: memory)
        }
        try await context.report(progress)
    }

    /// Waits for the next report and takes it in. What somebody changed about the migration meanwhile is ordered first.
    ///
    /// - Throws: ``Fault`` `stalled`; ``AgentProblem``.
    mutating func next() async throws {
        let options = await context.options()
        if options.bandwidth != ordered.bandwidth || ConvergenceRules(options) != ConvergenceRules(ordered) {
            let report = try await order(options)
            ordered = options
            return try await take(report)
        }
        let (server, key, seen, wait) = (context.server, context.key, last.version, settings.pollMS)
        try await take(source.ask { try await $0.outgoing(server, key, seen: seen, waitMS: wait) })
    }
}
