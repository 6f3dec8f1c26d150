import AgentAPI
import Engine
import Fleet
import Steps

/// The source gives the server up for good, and the target owns it.
struct HandOverStep: Step {
    static let name = "hand-over"
    var name: String { Self.name }
    let states: Set<MigrationState> = [.switching]
    let isPointOfNoReturn = true
    let ground: Ground

    func perform(_ context: StepContext) async throws -> StepResult {
        let source = try await ground.source(context)
        let target = try await ground.target(context)
        do {
            _ = try await source.ask { try await $0.yield(context.server, YieldOrder(epoch: context.epoch, key: context.key)) }
        } catch let problem as AgentProblem {
            throw Remedies.fault(problem, of: source.host, .source)
        }
        do {
            let report = try await target.ask(patience: context.settings.shortPatience) {
                try await $0.handOver(
                    context.server, HandoverOrder(epoch: context.epoch, key: context.key, source: source.host.name))
            }
            switch report.phase {
            case .owned, .running: return StepResult()
            case .refused, .failed:
                throw Fault(
                    report.reason ?? Reason(.targetLost, "\(target.host.name) lost the server before it owned it."), remedy: .otherTarget)
            case .prepared, .received: throw Awaiting("\(target.host.name) to own the server that was handed over to it")
            }
        } catch let problem as AgentProblem {
            switch problem.kind {
            case .notFound, .conflict:
                throw Fault(
                    .targetLost, "\(target.host.name) cannot own the server: \(problem.reason.message)", remedy: .otherTarget)
            case .unreachable, .invalid, .forbidden, .staleEpoch, .owned, .failed:
                throw Awaiting("\(target.host.name) to answer: the server was handed over to it", reason: problem.reason)
            }
        }
    }

    /// The server is the source's again, without ever being two hosts' (rule 6): a source that has given it up takes it back only with the
    /// target's durable refusal. Whoever does not answer meanwhile is waited for.
    func compensate(_ context: StepContext) async throws -> Compensation {
        if Self.isTakenBack(context) { return .done }
        let source = try await ground.source(context)
        if try await takeBack(source, context, targetRefused: false) { return .done }
        let target = try await ground.target(context)
        let refusal: IncomingReport
        do {
            refusal = try await target.ask(patience: context.settings.shortPatience) {
                try await $0.refuse(context.server, RefuseOrder(epoch: context.epoch, key: context.key))
            }
        } catch let problem as AgentProblem {
            if problem.kind == .owned { return .targetOwns }
            throw Awaiting("\(target.host.name) to say whether it owns the server", reason: problem.reason)
        }
        switch refusal.phase {
        case .owned, .running: return .targetOwns
        case .refused: break
        case .prepared, .received, .failed: throw Awaiting("\(target.host.name) to refuse the server", reason: refusal.reason)
        }
        guard try await takeBack(source, context, targetRefused: true) else {
            throw Awaiting("\(source.host.name) to take the server back, which \(target.host.name) has refused")
        }
        return .done
    }

    /// False when the source has given the server up and wants the target's refusal.
    private func takeBack(_ source: AgentLink, _ context: StepContext, targetRefused: Bool) async throws -> Bool {
        let order = TakeBackOrder(epoch: context.epoch, key: context.key, targetRefused: targetRefused)
        do {
            let report = try await source.ask(patience: context.settings.shortPatience) { try await $0.takeBack(context.server, order) }
            return report.phase == .returned
        } catch let problem as AgentProblem {
            switch problem.kind {
            // It never heard of the server, so that it cannot have given it up.
            case .notFound: return true
            case .owned, .conflict: return false
            case .unreachable:
                throw Awaiting("\(source.host.name) to say whether it gave the server up", reason: problem.reason)
            case .invalid, .forbidden, .staleEpoch, .failed: throw problem
            }
        }
    }

    /// This step's compensation has done it.
    static func isTakenBack(_ context: StepContext) -> Bool {
        context.journal.contains { $0.step == name && $0.status == .compensated }
    }
}
