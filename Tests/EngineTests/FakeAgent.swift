import AgentAPI
import AgentFakes
import Fleet
import Synchronization

/// An agent that only knows how to be cleaned up.
final class FakeAgent: PartialAgent, AgentDirectory {
    /// What was asked, and the answers to give, oldest first; then every order succeeds.
    let asked = Mutex<[String]>([])
    let problems = Mutex<[AgentProblem]>([])
    /// What it answers to being cleaned up.
    let endsGuest = Mutex(false)
    /// Under which the last discard came.
    let epoch = Mutex(Epoch.none)
    /// The host that the last discard named as the rescuer.
    let rescuer = Mutex<String?>(nil)

    func agent(of host: Fleet.Host) -> any AgentOrders { self }

    private func answer(_ order: String) throws {
        asked.withLock { $0.append(order) }
        if let problem = problems.withLock({ $0.isEmpty ? nil : $0.removeFirst() }) { throw problem }
    }

    func refuse(_ server: ServerID, _ order: RefuseOrder) async throws -> IncomingReport {
        try answer("refuse")
        return IncomingReport(epoch: order.epoch, key: order.key, phase: .refused, version: 1)
    }

    func discard(_ server: ServerID, _ order: DiscardOrder) async throws -> DiscardReport {
        try answer("discard \(order.end.rawValue)")
        rescuer.withLock { $0 = order.rescuedBy }
        epoch.withLock { $0 = order.epoch }
        return DiscardReport(endedGuest: endsGuest.withLock { $0 })
    }
}
