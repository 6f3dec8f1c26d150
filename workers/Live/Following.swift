import AgentAPI
import Engine
import Fleet
import Steps

/// Follows the source's end of an attempt by long polls: tells progress, notes the agent's events, sees a stall.
struct Following {
    private let context: StepContext
    private let source: AgentLink
    private let settings: StepSettings
    private let memoryBytes: Int64
    private let step: String
    private var eta: SteadyETA
    private var eventsNoted: Int
    private var moved: Int64 = -1
    private var movedAt: Duration
    private(set) var last: OutgoingReport

    /// How many of the agent's events stand in the history already.
    struct Memory: Codable {
        var eventsNoted: Int
    }

    init(
        _ report: OutgoingReport, step: String, source: AgentLink, context: StepContext, settings: StepSettings, memoryBytes: Int64
    ) throws {
        self.context = context
        self.source = source
        self.settings = settings
        self.memoryBytes = memoryBytes
        self.step = step
        self.last = report
        eta = SteadyETA(told: context.migration.progress?.etaMS)
        // Events are the attempt's, not the step's: what an earlier step noted stands.
        let memories = try context.journal.map(\.step).compactMap { try context.output(of: $0, as: Noted.self)?.eventsNoted }
        eventsNoted = memories.max() ?? 0
        movedAt = context.clock.now()
    }

    /// Any step's output, as far as it tells how many events were noted.
    private struct Noted: Decodable {
        var eventsNoted: Int?
    }

    var memory: Memory { Memory(eventsNoted: eventsNoted) }

    /// Takes a report in: writes what is new in it.
    mutating func take(_ report: OutgoingReport) async throws {
        last = report
        var progress = report.progress
        progress.etaMS = eta.next(progress, memoryBytes: memoryBytes)
        last.progress = progress
        if report.events.count > eventsNoted {
            let new = report.events[eventsNoted...].joined(separator: "; ")
            eventsNoted = report.events.count
            try await context.note(Reason("adjusted", new), output: memory)
        }
        try await context.report(progress)
        let bytes = progress.diskDone + progress.memoryTransferred
        if bytes != moved {
            moved = bytes
            movedAt = context.clock.now()
        }
    }

    /// Waits for the next report and takes it in.
    ///
    /// - Throws: ``Fault`` `stalled`; ``AgentProblem``.
    mutating func next() async throws {
        let asked = context.clock.now()
        let (server, key, seen, wait) = (context.server, context.key, last.version, settings.pollMS)
        let report = try await source.ask { try await $0.outgoing(server, key, seen: seen, waitMS: wait) }
        // Time in which the agent did not answer says nothing about the streams.
        movedAt += max(.zero, context.clock.now() - asked - .milliseconds(settings.pollMS))
        try await take(report)
        if context.clock.now() - movedAt > settings.stall {
            throw Fault(
                .stalled,
                "No byte moved from \(source.host.name) for \(settings.stall.inMilliseconds / 1000) s.", remedy: .otherTarget)
        }
    }
}
