import AgentAPI
import AgentFakes
import Fleet
import Synchronization

/// One host's agent.
struct FakeAgent: PartialAgent {
    let name: String
    let fleet: FakeFleet<World>

    func prove(_ server: ServerID, _ order: ProofOrder) async throws -> ProofReport {
        try await fleet.call(name, "prove \(order.act.rawValue)", epoch: order.epoch) { [name] world in
            let node = world.nodes[name, default: World.Node()]
            var report = ProofReport(storages: [:])
            for storage in order.storages {
                let isSeen = order.act != .remove && (order.act == .write || node.sees.contains(storage))
                report.storages[storage] = ProofReport.Finding(kind: node.storages[storage], isSeen: isSeen)
            }
            return report
        }
    }

    func lend(_ server: ServerID, _ order: LendOrder) async throws -> LoanReport {
        try await fleet.call(name, "lend", epoch: order.epoch) { [name] world in
            if let known = world.nodes[name]?.loan, known.key == order.key {
                guard known.phase == .lent else { throw AgentProblem(.conflict, .invalidRequest, "the attempt is over here") }
                return known
            }
            guard world.nodes[name]?.isHome == true else { throw unknown }
            let loan = LoanReport(
                epoch: order.epoch, key: order.key, phase: .lent, address: "10.0.0.1", port: 1, isEncrypted: order.enableTLS, files: [])
            world.nodes[name]?.loan = loan
            return loan
        }
    }

    func yield(_ server: ServerID, _ order: YieldOrder) async throws -> LoanReport {
        try await fleet.call(name, "yield", epoch: order.epoch) { [name] world in
            guard var loan = world.nodes[name]?.loan, loan.key == order.key else { throw unknown }
            guard loan.phase != .returned else { throw AgentProblem(.conflict, .invalidRequest, "taken back") }
            loan.phase = .yielded
            world.nodes[name]?.loan = loan
            world.nodes[name]?.isHome = false
            return loan
        }
    }

    func takeBack(_ server: ServerID, _ order: TakeBackOrder) async throws -> LoanReport {
        try await fleet.call(name, "takeBack", epoch: order.epoch) { [name] world in
            guard var loan = world.nodes[name]?.loan, loan.key == order.key else { throw unknown }
            if loan.phase == .yielded, !order.targetRefused { throw AgentProblem(.owned, .invalidRequest, "handed over") }
            loan.phase = .returned
            world.nodes[name]?.loan = loan
            world.nodes[name]?.isHome = true
            return loan
        }
    }

    func receive(_ server: ServerID, _ order: ReceiveOrder) async throws -> IncomingReport {
        try await fleet.call(name, "receive", epoch: order.epoch) { [name] world in
            if let known = world.nodes[name]?.incoming, known.key == order.key { return known }
            if world.nodes[name]?.refused.contains(order.key) == true { throw AgentProblem(.conflict, .invalidRequest, "refused already") }
            let report = IncomingReport(
                epoch: order.epoch, key: order.key, phase: .prepared, version: world.nextVersion(), receipt: ReceiptReport())
            world.nodes[name]?.incoming = report
            world.nodes[name]?.hasFiles = true
            return report
        }
    }

    func incoming(_ server: ServerID, _ key: AttemptKey, seen: Int64, waitMS: Int64) async throws -> IncomingReport {
        if waitMS > 0, fleet.world.withLock({ $0.isFrozen }) { try await Task.sleep(for: .milliseconds(waitMS)) }
        return try await fleet.call(name, "incoming") { [name] world in
            world.tick(name)
            guard let report = world.nodes[name]?.incoming, report.key == key else { throw unknown }
            return report
        }
    }

    func handOver(_ server: ServerID, _ order: HandoverOrder) async throws -> IncomingReport {
        try await fleet.call(name, "handOver", epoch: order.epoch) { [name] world in
            guard var report = world.nodes[name]?.incoming, report.key == order.key else { throw unknown }
            guard report.phase == .received || report.phase == .owned else {
                throw AgentProblem(.conflict, .targetLost, "the files are not here")
            }
            report.phase = .owned
            report.version = world.nextVersion()
            world.nodes[name]?.incoming = report
            world.nodes[name]?.isHome = true
            return report
        }
    }

    func refuse(_ server: ServerID, _ order: RefuseOrder) async throws -> IncomingReport {
        try await fleet.call(name, "refuse", epoch: order.epoch) { [name] world in
            if world.nodes[name]?.incoming?.key == order.key {
                guard world.nodes[name]?.incoming?.phase != .owned else { throw AgentProblem(.owned, .invalidRequest, "owned") }
                world.nodes[name]?.incoming?.phase = .refused
            }
            world.nodes[name]?.refused.insert(order.key)
            return IncomingReport(epoch: order.epoch, key: order.key, phase: .refused, version: world.nextVersion())
        }
    }

    func discard(_ server: ServerID, _ order: DiscardOrder) async throws -> DiscardReport {
        try await fleet.call(name, "discard", epoch: order.epoch) { [name] world in
            switch order.end {
            case .source:
                guard let loan = world.nodes[name]?.loan, loan.key == order.key else { return DiscardReport() }
                if loan.phase == .lent { world.nodes[name]?.loan?.phase = .returned }
                guard loan.phase == .yielded else { return DiscardReport() }
                world.nodes[name]?.loan = nil
                world.nodes[name]?.hasFiles = false
            case .target:
                guard world.nodes[name]?.incoming?.key == order.key else { return DiscardReport() }
                world.nodes[name]?.keepsCopies = order.keepsCopies == true
                world.nodes[name]?.incoming = nil
                world.nodes[name]?.hasFiles = false
            }
            return DiscardReport()
        }
    }
}
