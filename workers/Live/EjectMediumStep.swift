import AgentAPI
import Engine
import Fleet
import Steps
import Store

/// Takes the medium out of the guest's cdrom before it moves, where that was asked for; a rollback puts it back.
struct EjectMediumStep: Step {
    static let name = "eject-medium"
    var name: String { Self.name }
    let states: Set<MigrationState> = [.syncingDisk, .syncingMemory]
    let ground: Ground

    func perform(_ context: StepContext) async throws -> StepResult {
        let server = try await ground.store.server(context.server.value)
        guard Medium.ejected(server, context.migration.options) != nil else { return StepResult() }
        let source = try await ground.source(context)
        do {
            try await Self.put("", source, context)
        } catch let problem as AgentProblem {
            throw Remedies.fault(problem, of: source.host, .source)
        }
        return StepResult()
    }

    /// The store still has the server as it was. A medium whose file is gone stays out: the server is no worse for it.
    func compensate(_ context: StepContext) async throws -> Compensation {
        let server = try await ground.store.server(context.server.value)
        guard let medium = Medium.ejected(server, context.migration.options) else { return .done }
        let source = try await ground.source(context)
        let end = SourceEnd(ground: ground, source: source, context: context)
        do {
            // Mirrors that could not be ended, because the source was away, hold on to the guest as it is.
            if context.journal.contains(where: { $0.step == MirrorDisksStep.name }) { try await end.endMirrors() }
            try await Self.put(medium, source, context)
            return .done
        } catch let problem as AgentProblem {
            if problem.kind == .unreachable, try await end.isGivenUp() { return .done }
            switch problem.kind {
            case .notFound, .invalid: return .done
            case .unreachable, .conflict, .failed, .forbidden, .staleEpoch, .owned:
                throw Awaiting("\(source.host.name) to put \(medium) back into the cdrom", reason: problem.reason)
            }
        }
    }

    private static func put(_ medium: String, _ source: AgentLink, _ context: StepContext) async throws {
        _ = try await source.ask { try await $0.setCDROM(context.server, CDROMOrder(epoch: context.epoch, medium: medium)) }
    }
}
