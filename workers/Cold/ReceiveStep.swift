import AgentAPI
import Engine
import Fleet
import Steps
import Store

/// Has the target copy the server's files and compare them with the source, until all of them are there.
struct ReceiveStep: Step {
    static let name = "receive"
    var name: String { Self.name }
    let states: Set<MigrationState> = [.syncingDisk, .switching]
    let ground: Ground

    /// What the copy came to.
    struct Output: Codable {
        /// How many of the target's events stand in the history already.
        var eventsNoted = 0
        var report: ReceiptReport?
    }

    func perform(_ context: StepContext) async throws -> StepResult {
        let description = try await ground.store.server(context.server.value).description
        let source = try await ground.source(context)
        let target = try await ground.target(context)
        var order = ReceiveOrder(
            epoch: context.epoch, key: context.key, description: description, source: source.host.name,
            sourceAgentURL: source.host.agentURL, bandwidth: context.bandwidth, enableTLS: context.migration.options.enableTLS)
        do {
            var report = try await target.ask { [order] in try await $0.receive(context.server, order) }
            var watch = Watch(context: context, settings: ground.settings, source: source.host)
            while true {
                try await watch.take(report)
                switch report.phase {
                case .received, .owned, .running: return try result(report, watch, context)
                case .failed: throw fault(report, source.host, target.host)
                case .refused:
                    throw Fault(
                        report.reason ?? Reason(.agentError, "\(target.host.name) has refused this attempt already."), remedy: .sameTarget)
                case .prepared: break
                }
                let (server, key, seen, wait) = (context.server, context.key, report.version, ground.settings.pollMS)
                let asked = context.clock.now()
                report = try await target.ask { try await $0.incoming(server, key, seen: seen, waitMS: wait) }
                watch.forgive(context.clock.now() - asked - .milliseconds(wait))
                // A bandwidth that was set meanwhile.
                let bandwidth = try await ground.store.migration(context.migration.id.value).options.maxBandwidthMB.map { $0 * 1_000_000 }
                if bandwidth != order.bandwidth {
                    order.bandwidth = bandwidth
                    report = try await target.ask { [order] in try await $0.receive(context.server, order) }
                }
            }
        } catch let problem as AgentProblem {
            throw Remedies.fault(problem, of: target.host, .target)
        }
    }

    private func result(_ report: IncomingReport, _ watch: Watch, _ context: StepContext) throws -> StepResult {
        var result = try StepResult(
            output: Output(eventsNoted: watch.eventsNoted, report: report.receipt),
            event: context.migration.state == .syncingDisk ? .disksSynced : nil)
        result.numbers = Self.numbers(report.receipt)
        result.progress = watch.progress
        return result
    }

    private static func numbers(_ receipt: ReceiptReport?) -> [String: Int64] {
        guard let receipt else { return [:] }
        var numbers = [
            "files": Int64(receipt.files), "diskBytes": receipt.bytesTotal, "wireBytes": receipt.bytesFetched,
            "verifiedBytes": receipt.bytesVerified, "repairedChunks": receipt.chunksRepaired,
        ]
        numbers["copyMS"] = receipt.copyMS
        return numbers
    }

    /// What ``perform(_:)`` found out, as numbers.
    @Sendable static func figures(_ context: StepContext) throws -> [String: Int64] {
        numbers(try context.output(of: name, as: Output.self)?.report)
    }

    private func fault(_ report: IncomingReport, _ source: Host, _ target: Host) -> Fault {
        let reason = report.reason ?? Reason(.targetLost, "\(target.name) ended the copy without a reason.")
        switch reason.code {
        case .connectionLost, "unreachable":
            return Fault(
                .connectionLost,
                "\(target.name) cannot read from \(source.name): \(reason.message). Look at the link and at the agent of \(source.name); what was copied is kept for the next try.",
                remedy: .sameTarget)
        case .sourceLost, .baseMissing: return Fault(reason, remedy: .sameTarget)
        case .diskFull:
            return Fault(Reason(reason.code, "\(target.name): \(reason.message)"), remedy: .otherTarget)
        default: return Remedies.fault(reason, told: .target)
        }
    }

    /// The target promises never to own the server. What it copied stays there for a while where the next attempt may well go to it again.
    func compensate(_ context: StepContext) async throws -> Compensation {
        let migration = context.migration
        let comesBack = migration.remedy == .sameTarget && migration.attempt < migration.maxAttempts && !migration.cancelRequested
        return try await TargetEnd.giveUp(context, ground, keepingCopiesFor: comesBack ? Self.keeping : nil)
    }

    /// So long copies wait for another attempt.
    private static let keeping = Duration.seconds(600)
}

/// Follows a copy: tells progress, notes the target's events, sees a stall.
private struct Watch {
    private let context: StepContext
    private let settings: StepSettings
    private let source: Host
    private var eta: SteadyETA
    private var moved: ReceiptReport?
    private var movedAt: Duration
    private(set) var eventsNoted: Int
    private(set) var progress = Progress()

    init(context: StepContext, settings: StepSettings, source: Host) {
        self.context = context
        self.settings = settings
        self.source = source
        eta = SteadyETA(told: context.migration.progress?.etaMS)
        movedAt = context.clock.now()
        eventsNoted = ((try? context.output(of: ReceiveStep.name, as: ReceiveStep.Output.self)) ?? nil)?.eventsNoted ?? 0
    }

    /// Time in which the agent did not answer says nothing about the copy.
    mutating func forgive(_ time: Duration) { movedAt += max(.zero, time) }

    mutating func take(_ report: IncomingReport) async throws {
        guard let receipt = report.receipt else { return }
        if receipt.events.count > eventsNoted {
            for event in receipt.events[eventsNoted...] {
                eventsNoted += 1
                try await context.note(event, output: ReceiveStep.Output(eventsNoted: eventsNoted, report: nil))
            }
        }
        progress.diskTotal = receipt.bytesTotal
        progress.diskDone = receipt.bytesDone
        progress.rate = receipt.rate
        progress.etaMS = eta.next(progress, memoryBytes: 0)
        if report.phase == .received { progress.etaMS = 0 }
        try await context.report(progress)
        if (moved?.bytesFetched, moved?.bytesVerified, moved?.bytesCompared)
            != (receipt.bytesFetched, receipt.bytesVerified, receipt.bytesCompared)
        {
            moved = receipt
            movedAt = context.clock.now()
        }
        guard report.phase == .prepared, context.clock.now() - movedAt > settings.stall else { return }
        throw Fault(
            .stalled, "No byte came from \(source.name) for \(settings.stall.inMilliseconds / 1000) s.", remedy: .sameTarget)
    }
}
