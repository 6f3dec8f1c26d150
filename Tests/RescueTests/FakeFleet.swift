import AgentAPI
import Fleet
import Synchronization

/// Agents of hosts that share a storage, as far as a rescue can tell.
final class FakeFleet: AgentDirectory {
    struct Node {
        /// Its agent answers.
        var isUp = true
        var epoch = Epoch.none
        /// The server is defined here; adopted under this key.
        var adopted: AttemptKey?
        /// The server's guest runs here.
        var isRunning = false
        var refused: Set<AttemptKey> = []
        /// What its next adoption is answered.
        var problem: AgentProblem?
        /// Its next adoption takes effect and is not answered, and nothing is from then on.
        var diesAdopting = false
        /// Whom the last adoption took for possible owners.
        var owners: [String] = []
    }

    let nodes = Mutex<[String: Node]>([:])
    /// What was ordered, in the order of its coming.
    let log = Mutex<[String]>([])
    private let calls = Mutex(0)
    private let hook = Mutex<(@Sendable (Int) async throws -> Void)?>(nil)

    /// Called before and after each call of an agent: odd numbers before, even ones after it took effect.
    func onCall(_ hook: (@Sendable (Int) async throws -> Void)?) { self.hook.withLock { $0 = hook } }

    func agent(of host: Fleet.Host) -> any AgentOrders { FakeAgent(name: host.name, fleet: self) }

    func call<T: Sendable>(
        _ name: String, _ order: String, epoch: Epoch? = nil, _ body: @Sendable (inout Node) throws -> T
    ) async throws -> T {
        let number = calls.withLock { calls in
            calls += 2
            return calls - 1
        }
        let hook = hook.withLock { $0 }
        try await hook?(number)
        try Task.checkCancellation()
        let result = try nodes.withLock { nodes in
            var node = nodes[name, default: Node()]
            defer { nodes[name] = node }
            guard node.isUp else { throw AgentProblem(.unreachable, "unreachable", "no route to \(name)") }
            if let epoch {
                guard epoch >= node.epoch else { throw AgentProblem(.staleEpoch, .staleEpoch, "\(name) obeyed a newer epoch") }
                node.epoch = epoch
                log.withLock { $0.append("\(name) \(order)") }
            }
            return try body(&node)
        }
        try await hook?(number + 1)
        try Task.checkCancellation()
        return result
    }
}

struct FakeAgent: AgentOrders {
    let name: String
    let fleet: FakeFleet

    private var unknown: AgentProblem { AgentProblem(.notFound, .invalidRequest, "nothing here") }

    func host() async throws -> HostFacts {
        // Whatever it says, it answers.
        try await fleet.call(name, "host") { _ in throw AgentProblem(.failed, .agentError, "no facts here") }
    }

    func adopt(_ server: ServerID, _ order: AdoptOrder) async throws -> GuestReport {
        try await fleet.call(name, "adopt", epoch: order.epoch) { node in
            if let problem = node.problem {
                node.problem = nil
                throw problem
            }
            if node.refused.contains(order.key) { throw AgentProblem(.conflict, .invalidRequest, "refused already") }
            node.adopted = order.key
            node.owners = order.owners
            if node.diesAdopting {
                node.isUp = false
                throw AgentProblem(.unreachable, "unreachable", "the connection ended")
            }
            return GuestReport(
                summary: GuestSummary(server: server, status: .stopped, epoch: order.epoch, pid: nil), description: order.description,
                consoleLog: "", warnings: [])
        }
    }

    func refuse(_ server: ServerID, _ order: RefuseOrder) async throws -> IncomingReport {
        try await fleet.call(name, "refuse", epoch: order.epoch) { node in
            if node.adopted == order.key { node.adopted = nil }
            node.refused.insert(order.key)
            return IncomingReport(epoch: order.epoch, key: order.key, phase: .refused, version: 1)
        }
    }

    func discard(_ server: ServerID, _ order: DiscardOrder) async throws -> DiscardReport {
        try await fleet.call(name, "discard \(order.end.rawValue) \(order.rescuedBy ?? "-")", epoch: order.epoch) { node in
            guard order.rescuedBy != nil else { return DiscardReport() }
            let report = DiscardReport(endedGuest: node.isRunning)
            node.isRunning = false
            return report
        }
    }

    func guest(_ server: ServerID) async throws -> GuestReport { throw unknown }
    func define(_ server: ServerID, _ order: DefineOrder) async throws -> GuestReport { throw unknown }
    func start(_ server: ServerID, _ order: StartOrder) async throws -> GuestReport { throw unknown }
    func stop(_ server: ServerID, _ order: StopOrder) async throws -> GuestReport { throw unknown }
    func delete(_ server: ServerID, _ order: DeleteOrder) async throws { throw unknown }
    func prove(_ server: ServerID, _ order: ProofOrder) async throws -> ProofReport { throw unknown }
    func prepare(_ server: ServerID, _ order: PrepareOrder) async throws -> IncomingReport { throw unknown }
    func mirror(_ server: ServerID, _ order: MirrorOrder) async throws -> OutgoingReport { throw unknown }
    func sendMemory(_ server: ServerID, _ order: MemoryOrder) async throws -> OutgoingReport { throw unknown }
    func abort(_ server: ServerID, _ order: AbortOrder) async throws -> OutgoingReport { throw unknown }
    func handOver(_ server: ServerID, _ order: HandoverOrder) async throws -> IncomingReport { throw unknown }
    func outgoing(_ server: ServerID, _ key: AttemptKey, seen: Int64, waitMS: Int64) async throws -> OutgoingReport { throw unknown }
    func incoming(_ server: ServerID, _ key: AttemptKey, seen: Int64, waitMS: Int64) async throws -> IncomingReport { throw unknown }
}
