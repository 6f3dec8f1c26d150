import AgentAPI
import Engine
import Fleet
import Logging
import Steps
import Store

/// What contradicts whoever vouches for the source of a rescue being off.
struct SourceCheck {
    let ground: Ground

    /// - Throws: ``Fault`` `host-not-down` where the source answers the controllers, or now, or nobody vouches for it; `local-disk`.
    func requireDown(_ context: StepContext) async throws {
        do {
            try await ground.store.checkRescue(of: context.server, options: context.migration.options)
        } catch let error as StoreError where error.code == .localDisk {
            throw Fault(.localDisk, error.message, remedy: .none)
        } catch let error as StoreError where error.code == .hostNotDown {
            throw Fault(.hostNotDown, error.message, remedy: .none)
        }
        // The store knows of what was asked some seconds ago.
        let source = try await ground.source(context)
        do {
            let facts = try await source.ask(patience: .zero) { try await $0.host() }
            // Its lease is over, and it is given no other while the rescue is under way: nothing can be started there. What it says is looked at
            // all the same.
            if context.migration.options.provenByLease != nil {
                guard let guest = facts.guests.first(where: { $0.server == context.server }), guest.pid != nil else { return }
                throw Fault(
                    .hostNotDown,
                    "\(source.host.name) answers and still has a guest of the server, which its guard should have ended: see its guard's log.",
                    remedy: .none)
            }
        } catch let problem as AgentProblem where problem.kind == .unreachable {
            return
        } catch let problem as AgentProblem {
            context.log.notice("an agent that should be down answers", metadata: ["problem": "\(problem)"])
        }
        throw Fault(
            .hostNotDown,
            "The agent of \(source.host.name) answers, so that the host is not down; switch it off, or migrate the server live or cold.",
            remedy: .none)
    }
}
