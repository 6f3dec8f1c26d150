import AgentAPI
import Engine
import Fleet
import Steps

/// Has the source lend the server's files and keep it from starting.
struct LendStep: Step {
    static let name = "lend"
    var name: String { Self.name }
    let states: Set<MigrationState> = [.syncingDisk, .switching]
    let ground: Ground

    /// What is lent, for the steps after this one.
    struct Output: Codable {
        var sourceAgentURL: String
        var files: Int
        var allocatedBytes: Int64
    }

    func perform(_ context: StepContext) async throws -> StepResult {
        let source = try await ground.source(context)
        let order = LendOrder(
            epoch: context.epoch, key: context.key, enableTLS: context.migration.options.enableTLS,
            target: try await ground.target(context).host.name)
        do {
            let loan = try await source.ask { try await $0.lend(context.server, order) }
            return try StepResult(
                output: Output(
                    sourceAgentURL: source.host.agentURL, files: loan.files.count,
                    allocatedBytes: loan.files.reduce(0) { $0 + $1.allocatedBytes }))
        } catch let problem as AgentProblem where problem.reason.code == .tlsRefused {
            throw Fault(
                .tlsRefused, "\(source.host.name) cannot lend the server's files encrypted: \(problem.reason.message)", remedy: .none)
        } catch let problem as AgentProblem {
            throw Remedies.fault(problem, of: source.host, .source)
        }
    }

    /// Has the loan ended. A source that does not answer is left to a cleanup: the server was not handed over, or a later step's compensation
    /// would have waited.
    func compensate(_ context: StepContext) async throws -> Compensation {
        let source = try await ground.source(context)
        do {
            _ = try await source.ask(patience: context.settings.shortPatience) {
                try await $0.takeBack(
                    context.server, TakeBackOrder(epoch: context.epoch, key: context.key, targetRefused: HandOverStep.isTakenBack(context)))
            }
            return .done
        } catch let problem as AgentProblem {
            switch problem.kind {
            case .notFound: return .done
            case .unreachable: return .deferred([context.cleanup(.source, on: context.migration.source)])
            case .invalid, .forbidden, .staleEpoch, .owned, .conflict, .failed: throw problem
            }
        }
    }

    /// What ``perform(_:)`` found out.
    static func output(_ context: StepContext) throws -> Output {
        guard let output = try context.output(of: name, as: Output.self) else {
            throw Fault(.agentError, "The journal does not say what the source lends.", remedy: .sameTarget)
        }
        return output
    }
}
