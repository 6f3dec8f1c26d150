import AgentAPI
import Engine
import Fleet
import Logging
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
        let target = try await ground.target(context)
        let id = "\(context.server)-\(migration.id)-\(migration.attempt)"
        guard try await isKept(id, on: target, context) else { return compensation }
        let told = "what the attempt left on \(target.host.name) is kept there as \(id)"
        // What a step remembers stands until its row says otherwise.
        try await context.note(
            [PolicyEvent("kept", told + ": see `godwit kept-list`")], output: context.output(of: name, as: Output.self))
        return compensation
    }

    /// Whether there was anything to keep, by the target's own word.
    private func isKept(_ id: String, on target: AgentLink, _ context: StepContext) async throws -> Bool {
        do {
            return try await target.ask(patience: context.settings.shortPatience) { try await $0.host() }.kept?.contains { $0.id == id }
                == true
        } catch let problem as AgentProblem {
            context.log.info("the target does not say what it keeps", metadata: ["problem": "\(problem)"])
            return false
        }
    }

    /// What ``perform(_:)`` found out.
    static func output(_ context: StepContext) throws -> Output {
        guard let output = try context.output(of: name, as: Output.self) else {
            throw Fault(.agentError, "The journal does not say where the target listens.", remedy: .sameTarget)
        }
        return output
    }
}
