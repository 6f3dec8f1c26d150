import AgentAPI
import Fleet
import Synchronization

/// The agents of a ``World``.
final class FakeFleet: AgentDirectory {
    let world = Mutex(World())
    private let orders = Mutex<[String]>([])
    private let hook = Mutex<(@Sendable (Int, String) async throws -> Void)?>(nil)

    /// Orders that change something, in the order in which they came: `host2 prepare`.
    var log: [String] { orders.withLock { $0 } }

    /// Called before and after every call of an agent: numbers 1, 3, 5 … before, 2, 4, 6 … after it took effect.
    func onCall(_ hook: (@Sendable (Int, String) async throws -> Void)?) { self.hook.withLock { $0 = hook } }

    func agent(of host: Fleet.Host) -> any AgentOrders { FakeAgent(name: host.name, fleet: self) }

    private let calls = Mutex(0)

    func call<T: Sendable>(
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

/// One host's agent.
struct FakeAgent: AgentOrders {
    let name: String
    let fleet: FakeFleet

    private static func missing(_ what: String) -> AgentProblem { AgentProblem(.notFound, .invalidRequest, "no such \(what)") }

    func lend(_ server: ServerID, _ order: LendOrder) async throws -> LoanReport { throw Self.missing("loan") }
    func yield(_ server: ServerID, _ order: YieldOrder) async throws -> LoanReport { throw Self.missing("loan") }
    func takeBack(_ server: ServerID, _ order: TakeBackOrder) async throws -> LoanReport { throw Self.missing("loan") }
    func receive(_ server: ServerID, _ order: ReceiveOrder) async throws -> IncomingReport { throw Self.missing("loan") }
    func loan(_ server: ServerID, _ key: AttemptKey) async throws -> LoanReport { throw Self.missing("loan") }
    func digests(_ server: ServerID, _ order: DigestOrder) async throws -> DigestReport { throw Self.missing("loan") }

    func prepare(_ server: ServerID, _ order: PrepareOrder) async throws -> IncomingReport {
        try await fleet.call(name, "prepare", epoch: order.epoch) { [name] world in
            world.prepared = order
            if let known = world.nodes[name]?.incoming, known.key == order.key { return known }
            if world.nodes[name]?.refused.contains(order.key) == true { throw AgentProblem(.conflict, .invalidRequest, "refused already") }
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
            guard let known = world.nodes[name]?.incoming, known.key == order.key else { throw Self.missing("attempt") }
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

    func adopt(_ server: ServerID, _ order: AdoptOrder) async throws -> GuestReport { throw Self.missing("guest") }

    func outgoing(_ server: ServerID, _ key: AttemptKey, seen: Int64, waitMS: Int64) async throws -> OutgoingReport {
        let report = try await fleet.call(name, "outgoing") { [name] world in
            world.tick(name)
            guard let known = world.nodes[name]?.outgoing, known.key == key else { throw Self.missing("attempt") }
            return known
        }
        // Nothing new: a long poll would wait.
        if report.version <= seen { try await Task.sleep(for: .milliseconds(min(waitMS, 2))) }
        return report
    }

    func incoming(_ server: ServerID, _ key: AttemptKey, seen: Int64, waitMS: Int64) async throws -> IncomingReport {
        try await fleet.call(name, "incoming") { [name] world in
            if let known = world.nodes[name]?.incoming, known.key == key { return known }
            guard world.nodes[name]?.refused.contains(key) == true else { throw Self.missing("attempt") }
            return IncomingReport(epoch: .none, key: key, phase: .refused, version: world.nextVersion())
        }
    }

    func host() async throws -> HostFacts { throw Self.missing("fact") }
    func guest(_ server: ServerID) async throws -> GuestReport {
        try await fleet.call(name, "guest") { _ in Self.report(server, medium: "/medium.iso") }
    }
    func measure(_ server: ServerID, _ order: MeasureOrder) async throws -> MeasureReport { throw Self.missing("guest") }
    func cpuFeatures(_ server: ServerID) async throws -> CPUFeaturesReport {
        try await fleet.call(name, "cpu-features") { [name] world in CPUFeaturesReport(features: world.nodes[name]?.features ?? []) }
    }
    func checkCPU(_ order: CPUCheckOrder) async throws -> CPUCheckReport {
        try await fleet.call(name, "cpu-check") { [name] world in
            let offered = world.nodes[name]?.features ?? []
            return CPUCheckReport(missing: order.features.filter { !offered.contains($0) })
        }
    }
    func awaitRehearsal(_ order: RehearsalOrder) async throws -> RehearsalPlace { throw Self.missing("rehearsal") }
    func rehearse(_ server: ServerID, _ order: RehearseOrder) async throws -> RehearsalReport { throw Self.missing("rehearsal") }
    func define(_ server: ServerID, _ order: DefineOrder) async throws -> GuestReport { throw Self.missing("guest") }
    func start(_ server: ServerID, _ order: StartOrder) async throws -> GuestReport { throw Self.missing("guest") }
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
    func deleteKept(_ id: String) async throws { throw Self.missing("kept guest") }
    func delete(_ server: ServerID, _ order: DeleteOrder) async throws { throw Self.missing("guest") }
    func pause(_ server: ServerID, _ order: PauseOrder) async throws -> GuestReport { throw Self.missing("guest") }
    func setCDROM(_ server: ServerID, _ order: CDROMOrder) async throws -> GuestReport {
        try await fleet.call(name, "cdrom “\(order.medium)”", epoch: order.epoch) { _ in Self.report(server, medium: order.medium) }
    }

    private static func report(_ server: ServerID, medium: String) -> GuestReport {
        GuestReport(
            summary: GuestSummary(server: server, status: .running, epoch: .none, pid: nil),
            description: GuestDescription(
                server: server, name: "vm1", vcpus: 1, memoryBytes: 1, cpuModel: "", machine: "", accelerator: .tcg, firmware: .bios,
                boot: nil, disks: [], cdrom: medium, nics: []), consoleLog: "", warnings: [], cdromBytes: 2048)
    }

    func missingBases(_ needs: BaseNeeds) async throws -> BaseNeeds { throw Self.missing("base image") }
}
