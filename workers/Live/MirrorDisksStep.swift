import AgentAPI
import Engine
import Fleet
import Steps
import Store

/// Has every local disk mirrored to the target, until both sides are equal and kept so.
struct MirrorDisksStep: Step {
    static let name = "mirror-disks"
    var name: String { Self.name }
    let states: Set<MigrationState> = [.syncingDisk]
    let ground: Ground

    func perform(_ context: StepContext) async throws -> StepResult {
        let memoryBytes = try await ground.store.server(context.server.value).description.memoryBytes
        let source = try await ground.source(context)
        let prepared = try PrepareTargetStep.output(context)
        let shared = try ProveSharedStep.sharedDisks(context)
        let end = SourceEnd(ground: ground, source: source, context: context)
        do {
            var following = try await Following(
                step: name, source: source, context: context, settings: ground.settings, memoryBytes: memoryBytes
            ) { options in
                let order = MirrorOrder(
                    epoch: context.epoch, key: context.key, target: prepared.endpoints, bandwidth: options.bandwidth,
                    sharedDisks: shared, streams: context.streams)
                return try await end.give { try await $0.mirror(context.server, order) }
            }
            while true {
                switch following.last.phase {
                case .mirroring: try await following.next()
                case .mirrored, .memory, .switching, .handedOver, .confirmed:
                    var result = try StepResult(output: following.memory, event: .disksSynced)
                    result.progress = following.last.progress
                    result.numbers = ["diskBytes": following.last.progress.diskDone]
                    return result
                case .aborted, .failed: throw await end.fault(of: following.last)
                }
            }
        } catch let problem as AgentProblem {
            throw Remedies.fault(problem, of: source.host, .source)
        }
    }

    /// Has the mirrors off. A source that does not answer can be left alone: leave to switch was never given or is taken back already, and
    /// when the target's end is gone so are the mirrors.
    func compensate(_ context: StepContext) async throws -> Compensation {
        let end = SourceEnd(ground: ground, source: try await ground.source(context), context: context)
        do {
            try await end.endMirrors()
            return .done
        } catch let problem as AgentProblem where problem.kind == .unreachable {
            return .deferred([])
        }
    }
}
