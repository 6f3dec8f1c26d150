import AgentAPI
import Engine
import Fleet
import Steps
import Store

/// Has memory on its way, with leave to switch, until the source's vCPUs stand still for the last pass.
struct SendMemoryStep: Step {
    static let name = "send-memory"
    var name: String { Self.name }
    let states: Set<MigrationState> = [.syncingMemory]
    let ground: Ground

    func perform(_ context: StepContext) async throws -> StepResult {
        let memoryBytes = try await ground.store.server(context.server.value).description.memoryBytes
        let source = try await ground.source(context)
        let prepared = try PrepareTargetStep.output(context)
        let end = SourceEnd(ground: ground, source: source, context: context)
        do {
            if !context.journal.contains(where: { $0.step == MirrorDisksStep.name }) {
                // Nothing to mirror; the attempt begins at the source all the same.
                let opening = MirrorOrder(
                    epoch: context.epoch, key: context.key, target: prepared.endpoints, bandwidth: context.bandwidth,
                    sharedDisks: try ProveSharedStep.sharedDisks(context), streams: context.streams)
                _ = try await end.give { try await $0.mirror(context.server, opening) }
            }
            var following = try await Following(
                step: name, source: source, context: context, settings: ground.settings, memoryBytes: memoryBytes
            ) { options in
                let order = MemoryOrder(
                    epoch: context.epoch, key: context.key, target: prepared.endpoints, targetAgentURL: prepared.targetAgentURL,
                    bandwidth: options.bandwidth, rules: ConvergenceRules(options))
                return try await end.give { try await $0.sendMemory(context.server, order) }
            }
            while true {
                switch following.last.phase {
                case .mirroring, .mirrored, .memory: try await following.next()
                case .switching, .handedOver, .confirmed:
                    var result = try StepResult(output: following.memory, event: .sourceStopped)
                    result.progress = following.last.progress
                    result.numbers = [
                        "memoryBytes": following.last.progress.memoryTransferred, "rounds": following.last.progress.round,
                    ]
                    return result
                case .aborted, .failed: throw await end.fault(of: following.last)
                }
            }
        } catch let problem as AgentProblem where problem.kind == .unreachable {
            // With leave to switch the two agents may have ended it between them.
            if try await end.targetOwns() { return StepResult(event: .sourceStopped) }
            if try await end.isGivenUp() { throw end.givenUp }
            throw Awaiting("the agent of \(source.host.name), which may switch over meanwhile", reason: problem.reason)
        } catch let problem as AgentProblem {
            throw Remedies.fault(problem, of: source.host, .source)
        }
    }

    func compensate(_ context: StepContext) async throws -> Compensation {
        try await SourceEnd(ground: ground, source: ground.source(context), context: context).takeBack()
    }
}
