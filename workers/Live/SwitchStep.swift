import AgentAPI
import Engine
import Fleet
import Logging
import Steps

/// Sees the switchover through, which the two agents do between them, until the target runs the guest.
///
/// Its faults are all known for certain: the source says that it runs on, or the target that it never will. Whatever is not known is
/// waited for.
struct SwitchStep: Step {
    static let name = "switch"
    var name: String { Self.name }
    let states: Set<MigrationState> = [.switching]
    let isPointOfNoReturn = true
    let ground: Ground

    /// What the end of the history tells.
    struct Output: Codable {
        var blackout: Blackout?
        var diskBytes: Int64?
        var memoryBytes: Int64?
        var vcpuProgressMS: Int64?
    }

    /// What ``perform(_:)`` found out, as numbers.
    @Sendable static func figures(_ context: StepContext) throws -> [String: Int64] {
        guard let found = try context.output(of: name, as: Output.self) else { return [:] }
        var numbers: [String: Int64] = [:]
        let brought = try CopyBasesStep.brought(context)
        if brought > 0 { numbers["baseBytes"] = brought }
        numbers["diskBytes"] = found.diskBytes
        numbers["memoryBytes"] = found.memoryBytes
        numbers["vcpuProgressMS"] = found.vcpuProgressMS
        if let blackout = found.blackout {
            numbers["blackoutUS"] = blackout.totalUS
            numbers["lastPassUS"] = blackout.lastPassUS
            numbers["diskDrainUS"] = blackout.diskDrainUS
            numbers["deviceStateUS"] = blackout.deviceStateUS
            numbers["handoverUS"] = blackout.handoverUS
            numbers["resumeUS"] = blackout.resumeUS
        }
        return numbers
    }

    func perform(_ context: StepContext) async throws -> StepResult {
        let source = try await ground.source(context)
        let target = try await ground.target(context)
        let end = SourceEnd(ground: ground, source: source, context: context)
        var report = try await handover(end, target)
        var fetching = try Fetching(ground: ground, source: source, target: target, context: context)
        // Where the target does not answer the source may have noticed why.
        if let report, report.postCopy != nil { try await fetching.take(report) }
        let incoming = try await untilRunning(context, target)
        if incoming.postCopy != nil { report = try await fetching.untilComplete() ?? report }
        var output = Output(blackout: report?.blackout, vcpuProgressMS: incoming.vcpuProgressMS)
        let brought = try CopyBasesStep.brought(context)
        let progress = report?.progress.adding(bases: brought) ?? context.migration.progress
        output.diskBytes = progress?.diskDone
        output.memoryBytes = progress?.memoryTransferred
        var result = try StepResult(output: output)
        result.blackout = report?.blackout
        if var progress {
            progress.memoryRemaining = 0
            progress.etaMS = 0
            result.progress = progress
        }
        return result
    }

    /// Until the target is known to own the guest. Returns the source's last report, nil when only the target could be asked.
    private func handover(_ end: SourceEnd, _ target: AgentLink) async throws -> OutgoingReport? {
        let context = end.context
        let (server, key) = (context.server, context.key)
        var seen: Int64 = 0
        var handedOverAt: Duration?
        while true {
            let report: OutgoingReport
            do {
                // No patience: with a silent source the target is looked at without delay.
                let wait = handedOverAt == nil ? ground.settings.pollMS : ground.settings.relayAfter.inMilliseconds / 5
                report = try await end.source.ask(patience: context.settings.shortPatience) { [seen] in
                    try await $0.outgoing(server, key, seen: seen, waitMS: wait)
                }
            } catch let problem as AgentProblem {
                if try await end.targetOwns() { return nil }
                if problem.kind == .unreachable, try await end.isGivenUp() { throw end.givenUp }
                throw Awaiting("\(end.source.host.name) to say whether it handed the guest over", reason: problem.reason)
            }
            seen = report.version
            switch report.phase {
            case .confirmed: return report
            case .aborted, .failed: throw await end.fault(of: report)
            case .handedOver:
                let since = handedOverAt ?? context.clock.now()
                handedOverAt = since
                if context.clock.now() - since >= ground.settings.relayAfter {
                    try await relay(context, end.source.host, target, isPaused: report.isPaused)
                    return await lastWord(end) ?? report
                }
            case .mirroring, .mirrored, .memory, .switching: handedOverAt = nil
            }
            try await context.report(report.progress.adding(bases: CopyBasesStep.brought(context)))
        }
    }

    /// Carries the handover to the target, which the source's agent did not reach.
    private func relay(_ context: StepContext, _ source: Host, _ target: AgentLink, isPaused: Bool?) async throws {
        context.log.notice("relaying the handover", metadata: ["target": "\(target.host.name)"])
        let order = HandoverOrder(epoch: context.epoch, key: context.key, source: source.name, isPaused: isPaused)
        do {
            let report = try await target.ask(patience: context.settings.shortPatience) {
                try await $0.handOver(context.server, order)
            }
            switch report.phase {
            case .owned, .running: return
            case .refused, .failed: throw lost(report, target.host)
            case .prepared, .received: throw Awaiting("\(target.host.name) to own the guest that was handed over to it")
            }
        } catch let problem as AgentProblem {
            switch problem.kind {
            case .notFound:
                throw Fault(.targetLost, "\(target.host.name) has lost the guest: \(problem.reason.message)", remedy: .otherTarget)
            case .conflict:
                // It cannot take the guest now. Whether it ever can its record says.
                if let report = await lookAtTarget(context, target), report.phase == .refused || report.phase == .failed {
                    throw lost(report, target.host)
                }
                throw Awaiting("\(target.host.name) to answer: the guest was handed over to it", reason: problem.reason)
            case .unreachable, .invalid, .forbidden, .staleEpoch, .owned, .failed:
                throw Awaiting("\(target.host.name) to answer: the guest was handed over to it", reason: problem.reason)
            }
        }
    }

    /// Nil where it does not say.
    private func lookAtTarget(_ context: StepContext, _ target: AgentLink) async -> IncomingReport? {
        do {
            return try await target.ask(patience: context.settings.shortPatience) {
                try await $0.incoming(context.server, context.key, seen: 0, waitMS: 0)
            }
        } catch {
            context.log.info("the target does not say how its end stands", metadata: ["error": "\(error)"])
            return nil
        }
    }

    /// The source's report with the blackout in it, for a moment.
    private func lastWord(_ end: SourceEnd) async -> OutgoingReport? {
        let (server, key) = (end.context.server, end.context.key)
        do {
            return try await end.source.ask(patience: .zero) { try await $0.outgoing(server, key, seen: 0, waitMS: 0) }
        } catch {
            end.context.log.info("the source's last report is missing", metadata: ["error": "\(error)"])
            return nil
        }
    }

    private func untilRunning(_ context: StepContext, _ target: AgentLink) async throws -> IncomingReport {
        let (server, key) = (context.server, context.key)
        let since = context.clock.now()
        var seen: Int64 = 0
        while true {
            let report: IncomingReport
            do {
                let wait = seen == 0 ? 0 : ground.settings.pollMS
                report = try await target.ask(patience: context.settings.shortPatience) { [seen] in
                    try await $0.incoming(server, key, seen: seen, waitMS: wait)
                }
            } catch let problem as AgentProblem {
                throw Awaiting("\(target.host.name) to say that it runs the guest, which it owns", reason: problem.reason)
            }
            switch report.phase {
            case .running: return report
            case .refused, .failed: throw lost(report, target.host)
            case .prepared, .received, .owned: seen = report.version
            }
            if context.clock.now() - since > ground.settings.runAfter {
                throw Awaiting("\(target.host.name) to run the guest, which it owns", reason: report.reason)
            }
        }
    }

    private func lost(_ report: IncomingReport, _ host: Host) -> Fault {
        Fault(report.reason ?? Reason(.targetLost, "\(host.name) lost the guest before it owned it."), remedy: .otherTarget)
    }

    func compensate(_ context: StepContext) async throws -> Compensation {
        try await SourceEnd(ground: ground, source: ground.source(context), context: context).takeBack()
    }
}
