import AgentAPI
import AgentFakes
import Fleet

/// One host's agent.
struct FakeAgent: PartialAgent {
    let name: String
    let fleet: FakeFleet<World>
    private static let nothing = AgentProblem(.notFound, .invalidRequest, "nothing here")

    func lend(_ server: ServerID, _ order: LendOrder) async throws -> LoanReport {
        try await fleet.call(name, "lend", epoch: order.epoch) { [name] world in
            if let known = world.nodes[name]?.loan, known.key == order.key {
                guard known.phase == .lent else { throw AgentProblem(.conflict, .invalidRequest, "the attempt is over here") }
                return known
            }
            guard let names = order.bases, world.nodes[name]?.isRunning == true else { throw Self.nothing }
            guard let node = world.nodes[name], node.bases.isSuperset(of: names) else {
                throw AgentProblem(.failed, .baseMissing, "a base image is missing on \(name)")
            }
            let loan = LoanReport(
                epoch: order.epoch, key: order.key, phase: .lent, address: "10.0.0.1", port: 1, isEncrypted: order.enableTLS, files: [])
            world.nodes[name]?.loan = loan
            return loan
        }
    }

    func takeBack(_ server: ServerID, _ order: TakeBackOrder) async throws -> LoanReport {
        try await fleet.call(name, "takeBack", epoch: order.epoch) { [name] world in
            guard var loan = world.nodes[name]?.loan, loan.key == order.key else { throw Self.nothing }
            loan.phase = .returned
            world.nodes[name]?.loan = loan
            return loan
        }
    }

    func receive(_ server: ServerID, _ order: ReceiveOrder) async throws -> IncomingReport {
        try await fleet.call(name, "receive", epoch: order.epoch) { [name] world in
            world.nodes[name]?.note(order.bandwidth)
            if let known = world.nodes[name]?.incoming, known.key == order.key { return known }
            if world.nodes[name]?.refused.contains(order.key) == true { throw AgentProblem(.conflict, .invalidRequest, "refused already") }
            let report = IncomingReport(
                epoch: order.epoch, key: order.key, phase: .prepared, version: world.nextVersion(), receipt: ReceiptReport())
            world.nodes[name]?.incoming = report
            world.nodes[name]?.copying = order.bases ?? []
            return report
        }
    }

    func prepare(_ server: ServerID, _ order: PrepareOrder) async throws -> IncomingReport {
        try await fleet.call(name, "prepare", epoch: order.epoch) { [name] world in
            world.prepared = order
            if let known = world.nodes[name]?.incoming, known.key == order.key {
                guard known.receipt != nil else { return known }
                guard known.phase == .received else { throw AgentProblem(.conflict, .baseMissing, "still on their way") }
            }
            if world.nodes[name]?.refused.contains(order.key) == true { throw AgentProblem(.conflict, .invalidRequest, "refused already") }
            let bases = Set(order.description.disks.flatMap { $0.bases ?? [] }.map(\.name))
            guard let node = world.nodes[name], node.bases.isSuperset(of: bases) else {
                throw AgentProblem(.failed, .baseMissing, "a base image is missing on \(name)")
            }
            let report = IncomingReport(
                epoch: order.epoch, key: order.key, phase: .prepared, version: world.nextVersion(),
                endpoints: Endpoints(address: "10.0.0.2", nbdPort: 1, memoryPort: 2))
            world.nodes[name]?.incoming = report
            world.nodes[name]?.hasDisks = true
            world.nodes[name]?.preparations += 1
            world.nodes[name]?.prepared.append(order)
            return report
        }
    }

    func mirror(_ server: ServerID, _ order: MirrorOrder) async throws -> OutgoingReport {
        try await fleet.call(name, "mirror", epoch: order.epoch) { [name] world in
            world.nodes[name]?.note(order.bandwidth)
            if let known = world.nodes[name]?.outgoing, known.key == order.key { return known }
            guard world.nodes[name]?.isRunning == true else { throw AgentProblem(.conflict, .guestStopped, "the guest does not run") }
            let report = OutgoingReport(
                epoch: order.epoch, key: order.key, phase: .mirroring, version: world.nextVersion(), progress: Progress())
            world.nodes[name]?.outgoing = report
            world.nodes[name]?.leave = nil
            world.nodes[name]?.mirrored.append(order)
            return report
        }
    }

    func sendMemory(_ server: ServerID, _ order: MemoryOrder) async throws -> OutgoingReport {
        try await fleet.call(name, "sendMemory", epoch: order.epoch) { [name] world in
            guard let known = world.nodes[name]?.outgoing, known.key == order.key else {
                throw AgentProblem(.conflict, .invalidRequest, "the disks of this attempt are not mirrored")
            }
            world.nodes[name]?.note(order.bandwidth)
            world.nodes[name]?.leave = order
            return known
        }
    }

    func abort(_ server: ServerID, _ order: AbortOrder) async throws -> OutgoingReport {
        try await fleet.call(name, "abort \(order.targetRefused)", epoch: order.epoch) { [name] world in
            guard let known = world.nodes[name]?.outgoing, known.key == order.key else {
                return OutgoingReport(
                    epoch: order.epoch, key: order.key, phase: .aborted, version: world.nextVersion(), progress: Progress())
            }
            switch known.phase {
            case .aborted, .failed: return known
            case .confirmed: throw AgentProblem(.owned, .invalidRequest, "the target runs it")
            case .handedOver where !order.targetRefused: throw AgentProblem(.owned, .invalidRequest, "handed over")
            case .handedOver, .mirroring, .mirrored, .memory, .switching: break
            }
            var report = known
            report.phase = .aborted
            report.version = world.nextVersion()
            world.nodes[name]?.outgoing = report
            world.nodes[name]?.isRunning = true
            return report
        }
    }

    func handOver(_ server: ServerID, _ order: HandoverOrder) async throws -> IncomingReport {
        try await fleet.call(name, "handOver", epoch: nil) { [name] world in
            guard let known = world.nodes[name]?.incoming, known.key == order.key else { throw unknown }
            guard known.phase != .failed, known.phase != .refused else {
                throw AgentProblem(.conflict, known.reason ?? Reason(.targetLost, "It was refused here."))
            }
            _ = world.take(name, order.key)
            return world.nodes[name]?.incoming ?? known
        }
    }

    func refuse(_ server: ServerID, _ order: RefuseOrder) async throws -> IncomingReport {
        try await fleet.call(name, "refuse", epoch: order.epoch) { [name] world in
            if let known = world.nodes[name]?.incoming, known.key == order.key {
                guard known.phase != .owned, known.phase != .running else { throw AgentProblem(.owned, .invalidRequest, "it runs here") }
                world.setIncoming(name, .refused)
            }
            world.nodes[name]?.refused.insert(order.key)
            return IncomingReport(epoch: order.epoch, key: order.key, phase: .refused, version: world.nextVersion())
        }
    }

    func discard(_ server: ServerID, _ order: DiscardOrder) async throws -> DiscardReport {
        try await fleet.call(name, "discard \(order.end.rawValue)", epoch: order.epoch) { [name] world in
            guard world.nodes[name]?.isRunning != true else { throw AgentProblem(.owned, .invalidRequest, "it runs here") }
            let pending = world.nodes[name]?.outgoing?.postCopy
            guard pending != .fetching, pending != .interrupted else { throw AgentProblem(.conflict, .invalidRequest, "still needed") }
            world.nodes[name]?.discarded.append(order)
            switch order.end {
            case .source:
                guard world.nodes[name]?.outgoing?.key == order.key else { return }
                world.nodes[name]?.outgoing = nil
            case .target:
                guard let known = world.nodes[name]?.incoming, known.key == order.key else { return }
                guard known.phase == .refused || known.phase == .failed else {
                    throw AgentProblem(.conflict, .invalidRequest, "it has not refused")
                }
                if world.nodes[name]?.prepared.last?.keepsFailed == true, let reason = order.reason, reason.code != .cancelled {
                    world.nodes[name]?.kept.append(
                        KeptGuest(
                            id: "\(server)-\(order.key.migration)-\(order.key.attempt)", server: server, name: "vm1",
                            migration: order.key.migration, attempt: order.key.attempt, reason: reason, keptAt: .now, bytes: 0, folders: [])
                    )
                }
                world.nodes[name]?.incoming = nil
            }
            world.nodes[name]?.hasDisks = false
        }
        return DiscardReport()
    }

    func prove(_ server: ServerID, _ order: ProofOrder) async throws -> ProofReport {
        try await fleet.call(name, "prove \(order.act.rawValue)") { [name] world in
            let node = world.nodes[name, default: World.Node()]
            var report = ProofReport(storages: [:])
            for storage in order.storages {
                let kind = node.storages[storage]
                let isSeen = order.act != .remove && (order.act == .write || node.sees.contains(storage))
                report.storages[storage] = ProofReport.Finding(kind: kind, isSeen: isSeen)
            }
            return report
        }
    }

    func outgoing(_ server: ServerID, _ key: AttemptKey, seen: Int64, waitMS: Int64) async throws -> OutgoingReport {
        let report = try await fleet.call(name, "outgoing") { [name] world in
            world.tick(name)
            guard let known = world.nodes[name]?.outgoing, known.key == key else { throw unknown }
            return known
        }
        // Nothing new: a long poll would wait.
        if report.version <= seen { try await Task.sleep(for: .milliseconds(min(waitMS, 2))) }
        return report
    }

    func incoming(_ server: ServerID, _ key: AttemptKey, seen: Int64, waitMS: Int64) async throws -> IncomingReport {
        try await fleet.call(name, "incoming") { [name] world in
            world.tickCopy(name)
            if let known = world.nodes[name]?.incoming, known.key == key { return known }
            guard world.nodes[name]?.refused.contains(key) == true else { throw unknown }
            return IncomingReport(epoch: .none, key: key, phase: .refused, version: world.nextVersion())
        }
    }

    func host() async throws -> HostFacts {
        try await fleet.call(name, "host") { [name] world in
            var facts = HostFacts.staged(memoryGB: 64)
            facts.kept = world.nodes[name]?.kept
            return facts
        }
    }

    func guest(_ server: ServerID) async throws -> GuestReport {
        try await fleet.call(name, "guest") { _ in Self.report(server, medium: "/medium.iso") }
    }
    func cpuFeatures(_ server: ServerID) async throws -> CPUFeaturesReport {
        try await fleet.call(name, "cpu-features") { [name] world in CPUFeaturesReport(features: world.nodes[name]?.features ?? []) }
    }
    func checkCPU(_ order: CPUCheckOrder) async throws -> CPUCheckReport {
        try await fleet.call(name, "cpu-check") { [name] world in
            let offered = world.nodes[name]?.features ?? []
            return CPUCheckReport(missing: order.features.filter { !offered.contains($0) })
        }
    }
    func stop(_ server: ServerID, _ order: StopOrder) async throws -> GuestReport {
        try await fleet.call(name, "stop", epoch: order.epoch) { [name] world in
            world.nodes[name]?.isRunning = false
            world.nodes[name]?.incoming?.postCopy = .lost
            return GuestReport(
                summary: GuestSummary(server: server, status: .stopped, epoch: order.epoch, pid: nil),
                description: GuestDescription(
                    server: server, name: "vm1", vcpus: 1, memoryBytes: 8 << 30, cpuModel: "", machine: "", accelerator: .tcg,
                    firmware: .bios, boot: nil, disks: [], cdrom: nil, nics: []), consoleLog: "", warnings: [])
        }
    }
    func setCDROM(_ server: ServerID, _ order: CDROMOrder) async throws -> GuestReport {
        try await fleet.call(name, "cdrom “\(order.medium)”", epoch: order.epoch) { [name] world in
            switch world.nodes[name]?.outgoing?.phase {
            case nil, .aborted, .failed: Self.report(server, medium: order.medium)
            default: throw AgentProblem(.conflict, .invalidRequest, "a migration of the server is under way")
            }
        }
    }

    private static func report(_ server: ServerID, medium: String) -> GuestReport {
        GuestReport(
            summary: GuestSummary(server: server, status: .running, epoch: .none, pid: nil),
            description: GuestDescription(
                server: server, name: "vm1", vcpus: 1, memoryBytes: 1, cpuModel: "", machine: "", accelerator: .tcg, firmware: .bios,
                boot: nil, disks: [], cdrom: medium, nics: []), consoleLog: "", warnings: [], cdromBytes: 2048)
    }

    func missingBases(_ needs: BaseNeeds) async throws -> BaseNeeds {
        try await fleet.call(name, "bases") { [name] world in
            BaseNeeds(needs.needs.filter { world.nodes[name]?.bases.contains($0.base.name) != true })
        }
    }
}
