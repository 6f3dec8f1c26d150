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

    func guest(_ server: ServerID) async throws -> GuestReport {
        try await call("guest") { node in
            guard node.adopted != nil else { throw unknown }
            return report(server, node.epoch)
        }
    }

    private func report(_ server: ServerID, _ epoch: Epoch, _ description: GuestDescription? = nil) -> GuestReport {
        GuestReport(
            summary: GuestSummary(server: server, status: .stopped, epoch: epoch, pid: nil),
            description: description
                ?? GuestDescription(
                    server: server, name: "vm1", vcpus: 1, memoryBytes: 8 << 30, cpuModel: "", machine: "", accelerator: .tcg,
                    firmware: .bios, boot: nil, disks: [], cdrom: nil, nics: []), consoleLog: "", warnings: [])
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
            return report(server, order.epoch, order.description)
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
