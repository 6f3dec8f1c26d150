package import AgentAPI
package import Fleet
package import Synchronization

/// The agents of a world in memory. Every call of theirs passes here: it has a number, it can be held up before and after it takes effect, and
/// it is refused where the agent is silent, has obeyed a newer epoch, or was told to refuse it.
package final class FakeFleet<World: FakeWorld>: AgentDirectory {
    package let world = Mutex(World())
    private let make: @Sendable (String, FakeFleet) -> any AgentOrders
    private let orders = Mutex<[String]>([])
    private let hook = Mutex<(@Sendable (Int, String) async throws -> Void)?>(nil)
    private let calls = Mutex(0)

    /// - Parameter agent: gives the agent of a host, by the host's name.
    package init(agent: @escaping @Sendable (String, FakeFleet) -> any AgentOrders) {
        make = agent
    }

    package func agent(of host: Fleet.Host) -> any AgentOrders { make(host.name, self) }

    /// Orders that carry an epoch, and so change something, in the order in which they came: `host2 prepare`.
    package var log: [String] { orders.withLock { $0 } }

    /// Called before and after every call of an agent: numbers 1, 3, 5 … before, 2, 4, 6 … after it took effect.
    package func onCall(_ hook: (@Sendable (Int, String) async throws -> Void)?) { self.hook.withLock { $0 = hook } }

    /// One call of the agent of a host.
    package func call<T: Sendable>(
        _ name: String, _ order: String, epoch: Epoch? = nil, _ body: @Sendable (inout World) throws -> T
    ) async throws -> T {
        let number = calls.withLock { calls in
            calls += 2
            return calls - 1
        }
        let hook = hook.withLock { $0 }
        try await hook?(number, "\(name) \(order)")
        try Task.checkCancellation()
        let result = try world.withLock { world in
            if let silent = world.nodes[name]?.silentCalls, silent > 0 {
                world.nodes[name]?.silentCalls -= 1
                throw AgentProblem(.unreachable, "unreachable", "no route to \(name)")
            }
            if let epoch {
                guard epoch >= world.nodes[name, default: World.Node()].epoch else {
                    throw AgentProblem(.staleEpoch, .staleEpoch, "\(name) obeyed a newer epoch")
                }
                world.nodes[name, default: World.Node()].epoch = epoch
                orders.withLock { $0.append("\(name) \(order)") }
            }
            if let problem = world.nodes[name]?.problems.removeValue(forKey: order) { throw problem }
            defer { world.check() }
            return try body(&world)
        }
        try await hook?(number + 1, "\(name) \(order)")
        try Task.checkCancellation()
        return result
    }
}
