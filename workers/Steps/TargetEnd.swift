import AgentAPI
package import Engine
import Fleet

/// The target's end of an attempt that is given up.
package enum TargetEnd {
    /// The target promises never to run the guest, and clears away what it made. A target that does not answer is left to a cleanup: no
    /// handover can reach it, because the steps that lead to one are undone first, at the source.
    ///
    /// - Parameter keeping: for so long what was copied stays for another attempt on the same host; a cleanup removes it then.
    package static func giveUp(
        _ context: StepContext, _ ground: Ground, keepingCopiesFor keeping: Duration? = nil
    ) async throws -> Compensation {
        guard let host = context.migration.target else { return .done }
        let target = try await ground.target(context)
        let patience = context.settings.shortPatience
        let migration = context.migration
        let reason = migration.cancelRequested ? Reason(.cancelled, "it was called off") : migration.reason
        do {
            _ = try await target.ask(patience: patience) {
                try await $0.refuse(context.server, RefuseOrder(epoch: context.epoch, key: context.key))
            }
            try await target.ask(patience: patience) {
                try await $0.discard(
                    context.server,
                    DiscardOrder(
                        epoch: context.epoch, key: context.key, end: .target, reason: reason, keepsCopies: keeping.map { _ in true }))
            }
            guard let keeping else { return .done }
            var cleanup = context.cleanup(.target, on: host)
            cleanup.dueAt = .now + keeping
            return .deferred([cleanup])
        } catch let problem as AgentProblem {
            switch problem.kind {
            case .notFound: return .done
            case .owned:
                throw Awaiting(
                    "an operator: \(target.host.name) says that it owns the server, which is on the source", reason: problem.reason)
            case .unreachable, .conflict, .failed, .invalid, .forbidden, .staleEpoch:
                return .deferred([context.cleanup(.target, on: host)])
            }
        }
    }
}
