import AgentAPI
import AgentFakes
import Fleet

/// One host's agent.
struct FakeAgent: PartialAgent {
    let name: String
    let fleet: FakeFleet<World>

    private func call<T: Sendable>(
        _ order: String, epoch: Epoch? = nil, _ body: @Sendable (inout World.Node) throws -> T
    ) async throws -> T {
        try await fleet.call(name, order, epoch: epoch) { [name] world in try body(&world.nodes[name, default: World.Node()]) }
    }

    func host() async throws -> HostFacts {
        // Whatever it says, it answers.
        try await call("host") { _ in throw AgentProblem(.failed, .agentError, "no facts here") }
    }

    func adopt(_ server: ServerID, _ order: AdoptOrder) async throws -> GuestReport {
        try await call("adopt", epoch: order.epoch) { node in
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
        try await call("refuse", epoch: order.epoch) { node in
            if node.adopted == order.key { node.adopted = nil }
            node.refused.insert(order.key)
            return IncomingReport(epoch: order.epoch, key: order.key, phase: .refused, version: 1)
        }
    }

    func discard(_ server: ServerID, _ order: DiscardOrder) async throws -> DiscardReport {
        try await call("discard \(order.end.rawValue) \(order.rescuedBy ?? "-")", epoch: order.epoch) { node in
            guard order.rescuedBy != nil else { return DiscardReport() }
            let report = DiscardReport(endedGuest: node.isRunning)
            node.isRunning = false
            return report
        }
    }
}
