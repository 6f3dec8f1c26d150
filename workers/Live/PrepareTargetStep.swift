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
        let description = try await ground.store.server(context.server.value).description
        let source = try await ground.source(context)
        let target = try await ground.target(context)
        let order = PrepareOrder(
            epoch: context.epoch, key: context.key, description: description, source: source.host.name,
            sharedDisks: try ProveSharedStep.sharedDisks(context))
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

    func compensate(_ context: StepContext) async throws -> Compensation { try await TargetEnd.giveUp(context, ground) }

    /// What ``perform(_:)`` found out.
    static func output(_ context: StepContext) throws -> Output {
        guard let output = try context.output(of: name, as: Output.self) else {
            throw Fault(.agentError, "The journal does not say where the target listens.", remedy: .sameTarget)
        }
        return output
    }
}
