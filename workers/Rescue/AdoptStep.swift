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
            // It may have waited long for a place.
            if !(try await isAdopted(by: target, context)) { try await SourceCheck(ground: ground).requireDown(context) }
            try await target.ask { try await $0.adopt(context.server, order) }
        } catch let problem as AgentProblem {
            throw Remedies.fault(problem, of: target.host, .target)
        }
        return StepResult()
    }

    /// A worker before this one had it adopted: whether the source comes back has no meaning any more.
    private func isAdopted(by target: AgentLink, _ context: StepContext) async throws -> Bool {
        // Whatever else it has of the server is from before this migration, and so is the epoch that it obeyed.
        let accepted = try await ground.store.history(of: context.migration.id).first?.epoch ?? context.epoch
        do {
            return try await target.ask { try await $0.guest(context.server) }.summary.epoch > accepted
        } catch let problem as AgentProblem where problem.kind == .notFound {
            return false
        }
    }

    /// The target promises never to run the server under this attempt, and gives it back to the source by the owner record. One that does
    /// not answer may have adopted it; it was not told to start it, and gives it up to whoever adopts it next.
    func compensate(_ context: StepContext) async throws -> Compensation { try await TargetEnd.giveUp(context, ground) }
}
