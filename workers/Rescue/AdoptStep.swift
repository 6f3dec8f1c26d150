import AgentAPI
import Engine
import Fleet
import Steps
import Store

/// Has the target define the server on the shared storages that its disks are on, and write itself down there as the owner: from then on an
/// agent that comes back on the source ends whatever guest it still has.
struct AdoptStep: Step {
    let name = "adopt"
    let states: Set<MigrationState> = [.switching]
    let isPointOfNoReturn = true
    let ground: Ground

    func perform(_ context: StepContext) async throws -> StepResult {
        let description = try await ground.store.server(context.server.value).description
        let source = try await ground.store.host(context.migration.source.value)
        var owners = [source.name]
        for host in context.migration.excluded.keys { owners.append(try await ground.store.host(host.value).name) }
        let target = try await ground.target(context)
        let order = AdoptOrder(
            epoch: context.epoch, key: context.key, description: description, owners: owners.prefix(1) + owners.dropFirst().sorted())
        do {
            try await target.ask { try await $0.adopt(context.server, order) }
        } catch let problem as AgentProblem {
            throw Remedies.fault(problem, of: target.host, .target)
        }
        return StepResult()
    }

    /// The target promises never to run the server under this attempt, and gives it back to the source by the owner record. One that does
    /// not answer may have adopted it; it was not told to start it, and gives it up to whoever adopts it next.
    func compensate(_ context: StepContext) async throws -> Compensation { try await TargetEnd.giveUp(context, ground) }
}
