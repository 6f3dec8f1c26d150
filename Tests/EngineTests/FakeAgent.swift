import AgentAPI
import Fleet
import Synchronization

/// An agent that only knows how to be cleaned up.
final class FakeAgent: AgentOrders, AgentDirectory {
    /// What was asked, and the answers to give, oldest first; then every order succeeds.
    let asked = Mutex<[String]>([])
    let problems = Mutex<[AgentProblem]>([])
    /// What it answers to being cleaned up.
    let endsGuest = Mutex(false)
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
        return DiscardReport(endedGuest: endsGuest.withLock { $0 })
    }

    private var unknown: AgentProblem { AgentProblem(.notFound, .invalidRequest, "nothing here") }
    func host() async throws -> HostFacts { throw unknown }
    func guest(_ server: ServerID) async throws -> GuestReport { throw unknown }
    func define(_ server: ServerID, _ order: DefineOrder) async throws -> GuestReport { throw unknown }
    func start(_ server: ServerID, _ order: StartOrder) async throws -> GuestReport { throw unknown }
    func stop(_ server: ServerID, _ order: StopOrder) async throws -> GuestReport { throw unknown }
    func delete(_ server: ServerID, _ order: DeleteOrder) async throws { throw unknown }
    func prove(_ server: ServerID, _ order: ProofOrder) async throws -> ProofReport { throw unknown }
    func adopt(_ server: ServerID, _ order: AdoptOrder) async throws -> GuestReport { throw unknown }
    func prepare(_ server: ServerID, _ order: PrepareOrder) async throws -> IncomingReport { throw unknown }
    func mirror(_ server: ServerID, _ order: MirrorOrder) async throws -> OutgoingReport { throw unknown }
    func sendMemory(_ server: ServerID, _ order: MemoryOrder) async throws -> OutgoingReport { throw unknown }
    func abort(_ server: ServerID, _ order: AbortOrder) async throws -> OutgoingReport { throw unknown }
    func handOver(_ server: ServerID, _ order: HandoverOrder) async throws -> IncomingReport { throw unknown }
    func outgoing(_ server: ServerID, _ key: AttemptKey, seen: Int64, waitMS: Int64) async throws -> OutgoingReport { throw unknown }
    func incoming(_ server: ServerID, _ key: AttemptKey, seen: Int64, waitMS: Int64) async throws -> IncomingReport { throw unknown }
}
