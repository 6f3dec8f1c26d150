package import AgentAPI
package import Engine
package import Fleet

/// Has a target copy what its source lends, until all of it is there: tells progress, notes the target's events, hands on a bandwidth that
/// was set meanwhile.
package struct CopyFollowing {
    /// What a step that copies remembers.
    package struct Output: Codable {
        /// How many of the target's events stand in the history already.
        package var eventsNoted = 0
        package var report: ReceiptReport?
        /// Names of the base images, where those alone are copied.
        package var bases: [String]?

        package init(bases: [String]? = nil) {
            self.bases = bases
        }
    }

    private let ground: Ground
    private let context: StepContext
    private let source: Host
    private let target: AgentLink
    private let bytesAfter: Int64?
    private var eta: SteadyETA
    package private(set) var output: Output
    package private(set) var progress = Progress()

    /// - Parameters:
    ///   - output: What the step has remembered so far.
    ///   - bytesAfter: What is to be moved once this is copied; nil when nobody knows, and no time can be told.
    package init(
        ground: Ground, context: StepContext, source: Host, target: AgentLink, output: Output, bytesAfter: Int64? = 0
    ) {
        self.ground = ground
        self.context = context
        self.source = source
        self.target = target
        self.output = output
        self.bytesAfter = bytesAfter
        eta = SteadyETA(told: context.migration.progress?.etaMS)
    }

    /// Gives the order and follows it to its end.
    /// - Throws: ``Fault``, `stalled` among them.
    package mutating func run(_ wanted: ReceiveOrder) async throws {
        var order = wanted
        do {
            var report = try await target.ask { [order] in try await $0.receive(context.server, order) }
            while true {
                try await take(report)
                switch report.phase {
                case .received, .owned, .running: return
                case .failed: throw fault(report)
                case .refused:
                    throw Fault(
                        report.reason ?? Reason(.agentError, "\(target.host.name) has refused this attempt already."), remedy: .sameTarget)
                case .prepared: break
                }
                let (server, key, seen, wait) = (context.server, context.key, report.version, ground.settings.pollMS)
                report = try await target.ask { try await $0.incoming(server, key, seen: seen, waitMS: wait) }
                let bandwidth = await context.options().bandwidth
                if bandwidth != order.bandwidth {
                    order.bandwidth = bandwidth
                    report = try await target.ask { [order] in try await $0.receive(context.server, order) }
                }
            }
        } catch let problem as AgentProblem {
            throw Remedies.fault(problem, of: target.host, .target)
        }
    }

    private mutating func take(_ report: IncomingReport) async throws {
        guard let receipt = report.receipt else { return }
        output.report = receipt
        if receipt.events.count > output.eventsNoted {
            let new = receipt.events[output.eventsNoted...].map { PolicyEvent($0.code, $0.message) }
            output.eventsNoted = receipt.events.count
            try await context.note(new, output: output)
        }
        progress.diskTotal = receipt.bytesTotal
        progress.diskDone = receipt.bytesDone
        progress.rate = receipt.rate
        if let bytesAfter { progress.etaMS = report.phase == .prepared || bytesAfter > 0 ? eta.next(progress, memoryBytes: bytesAfter) : 0 }
        try await context.report(progress, activity: receipt.bytesFetched + receipt.bytesVerified + receipt.bytesCompared)
    }

    private func fault(_ report: IncomingReport) -> Fault {
        let reason = report.reason ?? Reason(.targetLost, "\(target.host.name) ended the copy without a reason.")
        switch reason.code {
        case .connectionLost, "unreachable":
            return Fault(
                .connectionLost,
                "\(target.host.name) cannot read from \(source.name): \(reason.message). Look at the link and at the agent of \(source.name); what was copied is kept for the next try.",
                remedy: .sameTarget)
        case .sourceLost, .baseMissing: return Fault(reason, remedy: .sameTarget)
        case .tlsRefused:
            return Fault(
                .tlsRefused, "\(source.name) and \(target.host.name) do not take each other's certificates: \(reason.message)",
                remedy: .otherTarget)
        case .diskFull:
            return Fault(
                reason.code,
                "\(target.host.name): \(reason.message). Free some room on \(target.host.name), or choose another host with --prefer-host.",
                remedy: .otherTarget)
        default: return Remedies.fault(reason, told: .target)
        }
    }

    /// The target promises never to own the server. What it copied stays there for a while where the next attempt may well go to it again.
    package static func giveUp(_ context: StepContext, _ ground: Ground) async throws -> Compensation {
        let migration = context.migration
        let comesBack = migration.remedy == .sameTarget && migration.attempt < migration.maxAttempts && !migration.cancelRequested
        return try await TargetEnd.giveUp(context, ground, keepingCopiesFor: comesBack ? keeping : nil)
    }

    /// So long copies wait for another attempt.
    private static let keeping = Duration.seconds(600)
}
