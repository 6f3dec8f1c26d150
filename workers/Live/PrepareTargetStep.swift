import AgentAPI
import Engine
import Fleet
import Steps
import Store

/// Has a QEMU wait on the target, with fresh disks in place of those that the target does not see.
struct PrepareTargetStep: Step {
    static let name = "prepare-target"
    var name: String { Self.name }
    let states: Set<MigrationState> = [.syncingDisk, .syncingMemory]
    let ground: Ground

    /// Where the target listens, for the steps after this one.
    struct Output: Codable {
        var endpoints: Endpoints
        var targetAgentURL: String
    }

    func perform(_ context: StepContext) async throws -> StepResult {
        let description = Medium.described(
            try await ground.store.server(context.server.value), after: context.migration.options)
        let source = try await ground.source(context)
        let target = try await ground.target(context)
        let order = PrepareOrder(
            epoch: context.epoch, key: context.key, description: description, source: source.host.name,
            sharedDisks: try ProveSharedStep.sharedDisks(context), streams: context.streams,
            keepsFailed: context.migration.options.keepDestGuestOnFailed,
            cdromBytes: try await mediumBytes(of: description, source, context))
        let report: IncomingReport
        do {
            report = try await target.ask { try await $0.prepare(context.server, order) }
        } catch let problem as AgentProblem {
            throw Remedies.fault(problem, of: target.host, .target)
        }
        switch report.phase {
        case .failed:
            throw Remedies.fault(
                report.reason ?? Reason(.targetLost, "QEMU on \(target.host.name) ended before anything was sent."), told: .target)
        case .refused:
            throw Fault(
                report.reason ?? Reason(.agentError, "\(target.host.name) has refused this attempt already."), remedy: .sameTarget)
        case .prepared, .received, .owned, .running:
            guard let endpoints = report.endpoints else {
                throw Fault(.agentError, "\(target.host.name) did not say where its guest listens.", remedy: .otherTarget)
            }
            return try StepResult(output: Output(endpoints: endpoints, targetAgentURL: target.host.agentURL))
        }
    }

    /// What the medium that moves along must be as large as on the target.
    private func mediumBytes(of guest: GuestDescription, _ source: AgentLink, _ context: StepContext) async throws -> Int64? {
        guard let medium = guest.cdrom, !medium.isEmpty else { return nil }
        do {
            return try await source.ask { try await $0.guest(context.server) }.cdromBytes
        } catch let problem as AgentProblem {
            throw Remedies.fault(problem, of: source.host, .source)
        }
    }

    func compensate(_ context: StepContext) async throws -> Compensation {
        let compensation = try await TargetEnd.giveUp(context, ground)
        let migration = context.migration
        guard migration.options.keepDestGuestOnFailed, !migration.cancelRequested, compensation == .done else { return compensation }
        let host = try await ground.target(context).host
        let told = "what the attempt left on \(host.name) is kept there as \(context.server)-\(migration.id)-\(migration.attempt)"
        // What a step remembers stands until its row says otherwise.
        try await context.note(
            [PolicyEvent("kept", told + ": see `godwit kept-list`")], output: context.output(of: name, as: Output.self))
        return compensation
    }

    /// What ``perform(_:)`` found out.
    static func output(_ context: StepContext) throws -> Output {
        guard let output = try context.output(of: name, as: Output.self) else {
            throw Fault(.agentError, "The journal does not say where the target listens.", remedy: .sameTarget)
        }
        return output
    }
}
