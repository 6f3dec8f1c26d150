import AgentAPI
import Engine
import Fleet
import Steps

/// Sees a post-copy through: the target runs the guest, and the source must stay until all memory is fetched. Placement moves after that,
/// so that *ready* means that nothing of the server hangs on its old host any more.
struct Fetching {
    let ground: Ground
    let source: AgentLink
    let target: AgentLink
    let context: StepContext
    private var eventsNoted: Int
    private var looks: Int64 = 0
    /// What the source was last told.
    private var bandwidth: Int64?

    init(ground: Ground, source: AgentLink, target: AgentLink, context: StepContext) throws {
        self.ground = ground
        self.source = source
        self.target = target
        self.context = context
        let memories = try context.journal.compactMap { try context.output(of: $0.step, as: Noted.self)?.eventsNoted }
        eventsNoted = memories.max() ?? 0
        bandwidth = context.bandwidth
    }

    /// How long a broken stream is joined anew before that is told as awaited.
    private static let patience = Duration.seconds(5)

    /// Returns once nothing more is to be fetched: all is there, or the rest is lost for certain.
    /// - Returns: the source's last report, nil when it was not asked any more.
    mutating func untilComplete() async throws -> OutgoingReport? {
        var interruptedAt: Duration?
        var last: OutgoingReport?
        while true {
            let incoming: PostCopy?
            do {
                incoming = try await look()
            } catch let awaiting as Awaiting {
                // The source may have noticed why.
                if let report = try await sourcesSide(seen: 0) { try await take(report) }
                throw awaiting
            }
            if incoming == nil || incoming == .complete { return last }
            if incoming == .lost {
                try await tellLoss("The guest's QEMU on \(target.host.name) ended before post-copy was complete")
                return last
            }
            guard let report = try await sourcesSide(seen: last?.version ?? 0) else {
                try await endGuest()
                try await tellLoss("\(source.host.name) is down, as was confirmed, with memory of the guest that only it had")
                return last
            }
            last = report
            try await take(report)
            try await passOnBandwidth()
            switch report.postCopy {
            case nil, .complete: break
            case .lost:
                try await endGuest()
                try await tellLoss("The guest's QEMU on \(source.host.name) ended before post-copy was complete")
                return last
            case .fetching: interruptedAt = nil
            case .interrupted:
                let since = interruptedAt ?? context.clock.now()
                interruptedAt = since
                if context.clock.now() - since > Self.patience {
                    throw Awaiting(
                        "the stream between \(source.host.name) and \(target.host.name), which their agents join anew: the guest stands still as soon as it needs memory that only \(source.host.name) has",
                        reason: report.reason)
                }
            }
        }
    }

    /// How many of the source's events stand in the history already.
    private struct Noted: Codable {
        var eventsNoted: Int?
    }

    /// Writes what is new. That no byte moves is no stall here: a guest may need none of those that are missing, and there is no way back.
    mutating func take(_ report: OutgoingReport) async throws {
        if report.events.count > eventsNoted {
            let new = Array(report.events[eventsNoted...])
            eventsNoted = report.events.count
            try await context.note(new, output: Noted(eventsNoted: eventsNoted))
        }
        looks += 1
        try await context.report(report.progress.adding(bases: CopyBasesStep.brought(context)), activity: looks)
    }

    private func look() async throws -> PostCopy? {
        let (server, key) = (context.server, context.key)
        return try await ask(target, "say whether all memory is there") {
            try await $0.incoming(server, key, seen: 0, waitMS: 0)
        }.postCopy
    }

    /// Tells the source what somebody changed meanwhile.
    private mutating func passOnBandwidth() async throws {
        let options = await context.options()
        guard options.bandwidth != bandwidth else { return }
        let prepared = try PrepareTargetStep.output(context)
        let order = MemoryOrder(
            epoch: context.epoch, key: context.key, target: prepared.endpoints, targetAgentURL: prepared.targetAgentURL,
            bandwidth: options.bandwidth, rules: ConvergenceRules(options))
        _ = try await ask(source, "take another bandwidth") { try await $0.sendMemory(context.server, order) }
        bandwidth = options.bandwidth
    }

    /// What the target's guest waits for will never come.
    private func endGuest() async throws {
        let order = StopOrder(epoch: context.epoch, graceMS: 0)
        _ = try await ask(target, "end the guest, whose memory is lost") { try await $0.stop(context.server, order) }
    }

    /// Nil when it does not answer and somebody vouches that it never will.
    private func sourcesSide(seen: Int64) async throws -> OutgoingReport? {
        let (server, key, wait) = (context.server, context.key, ground.settings.pollMS)
        do {
            return try await source.ask(patience: context.settings.shortPatience) {
                try await $0.outgoing(server, key, seen: seen, waitMS: wait)
            }
        } catch let problem as AgentProblem {
            if problem.kind == .unreachable, await context.options().confirmHostDown { return nil }
            throw Awaiting(
                "\(source.host.name), which alone has the rest of the guest's memory; if that host is lost for good, so is the memory: give it up by server-set-live-migrate-params --confirm-host-down, and start the server again from its disks on \(target.host.name)",
                reason: problem.reason)
        }
    }

    private func ask<Answer: Sendable>(
        _ link: AgentLink, _ what: String, _ order: (any AgentOrders) async throws -> Answer
    ) async throws -> Answer {
        do {
            return try await link.ask(patience: context.settings.shortPatience, order)
        } catch let problem as AgentProblem {
            throw Awaiting("\(link.host.name) to \(what)", reason: problem.reason)
        }
    }

    private func tellLoss(_ what: String) async throws {
        let message = "\(what): that memory is lost. The server's disks are whole on \(target.host.name): start it again."
        try await context.note([PolicyEvent(.guestStopped, message)], output: Noted(eventsNoted: .max))
    }
}
