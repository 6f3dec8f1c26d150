import AgentAPI
import Fleet
import Synchronization

/// Hosts and what their agents wrote down, as far as the orders of a cold migration can tell, in memory and without time.
struct World {
    struct Node {
        var epoch = Epoch.none
        /// The server may be started here.
        var isHome = false
        var hasFiles = false
        var storages: [String: Storage.Kind] = ["local": .local, "pool": .shared]
        /// Names of the storages that are the same as the source's.
        var sees: Set<String> = ["pool"]
        var loan: LoanReport?
        var incoming: IncomingReport?
        var keepsCopies = false
        var refused: Set<AttemptKey> = []
        /// Its agent does not answer for so many calls.
        var silentCalls = 0
        /// Answers to give once, by order.
        var problems: [String: AgentProblem] = [:]
        /// The copy ends so.
        var copyFails: Reason?
    }

    var nodes: [String: Node] = [:]
    /// Moves nothing on any more.
    var isFrozen = false
    private(set) var violations: [String] = []
    private var version: Int64 = 0

    static let bytes: Int64 = 1000

    mutating func check() {
        let homes = nodes.filter { $0.value.isHome && $0.value.loan?.phase != .yielded }.keys.sorted()
        if homes.count > 1 { violations.append("could be started on \(homes)") }
        if !nodes.contains(where: {
            $0.value.hasFiles && ($0.value.isHome || $0.value.incoming?.phase == .received || $0.value.loan != nil)
        }) {
            violations.append("the server's files are nowhere")
        }
    }

    mutating func nextVersion() -> Int64 {
        version += 1
        return version
    }

    /// The copy under way at a host comes a step further.
    mutating func tick(_ name: String) {
        guard !isFrozen, var report = nodes[name]?.incoming, report.phase == .prepared else { return }
        var receipt = report.receipt ?? ReceiptReport()
        receipt.bytesTotal = Self.bytes
        receipt.bytesDone = min(Self.bytes, receipt.bytesDone + 400)
        receipt.bytesFetched = receipt.bytesDone
        receipt.bytesVerified = receipt.bytesDone
        receipt.rate = 400
        report.receipt = receipt
        if receipt.bytesDone > 400, let reason = nodes[name]?.copyFails {
            report.phase = .failed
            report.reason = reason
        } else if receipt.bytesDone == Self.bytes {
            report.phase = .received
        }
        report.version = nextVersion()
        nodes[name]?.incoming = report
    }
}

/// The agents of a ``World``.
final class FakeFleet: AgentDirectory {
    let world = Mutex(World())
    private let orders = Mutex<[String]>([])
    private let hook = Mutex<(@Sendable (Int, String) async throws -> Void)?>(nil)
    private let calls = Mutex(0)

    /// Orders that change something, in the order in which they came: `host2 receive`.
    var log: [String] { orders.withLock { $0 } }

    /// Called before and after every call: numbers 1, 3, 5 … before, 2, 4, 6 … after it took effect.
    func onCall(_ hook: (@Sendable (Int, String) async throws -> Void)?) { self.hook.withLock { $0 = hook } }

    func agent(of host: Fleet.Host) -> any AgentOrders { FakeAgent(name: host.name, fleet: self) }

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

    func missingBases(_ needs: BaseNeeds) async throws -> BaseNeeds { throw Self.missing("order") }
    func measure(_ server: ServerID, _ order: MeasureOrder) async throws -> MeasureReport { throw Self.missing("order") }
    func cpuFeatures(_ server: ServerID) async throws -> CPUFeaturesReport { throw Self.missing("order") }
    func checkCPU(_ order: CPUCheckOrder) async throws -> CPUCheckReport { throw Self.missing("order") }
    func awaitRehearsal(_ order: RehearsalOrder) async throws -> RehearsalPlace { throw Self.missing("order") }
    func rehearse(_ server: ServerID, _ order: RehearseOrder) async throws -> RehearsalReport { throw Self.missing("order") }
    func pause(_ server: ServerID, _ order: PauseOrder) async throws -> GuestReport { throw Self.missing("order") }
    func setCDROM(_ server: ServerID, _ order: CDROMOrder) async throws -> GuestReport { throw Self.missing("order") }
    func adopt(_ server: ServerID, _ order: AdoptOrder) async throws -> GuestReport { throw Self.missing("order") }
    func deleteKept(_ id: String) async throws { throw Self.missing("order") }

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
            guard world.nodes[name]?.isHome == true else { throw Self.missing("server") }
            let loan = LoanReport(
                epoch: order.epoch, key: order.key, phase: .lent, address: "10.0.0.1", port: 1, isEncrypted: order.enableTLS, files: [])
            world.nodes[name]?.loan = loan
            return loan
        }
    }

    func yield(_ server: ServerID, _ order: YieldOrder) async throws -> LoanReport {
        try await fleet.call(name, "yield", epoch: order.epoch) { [name] world in
            guard var loan = world.nodes[name]?.loan, loan.key == order.key else { throw Self.missing("loan") }
            guard loan.phase != .returned else { throw AgentProblem(.conflict, .invalidRequest, "taken back") }
            loan.phase = .yielded
            world.nodes[name]?.loan = loan
            world.nodes[name]?.isHome = false
            return loan
        }
    }

    func takeBack(_ server: ServerID, _ order: TakeBackOrder) async throws -> LoanReport {
        try await fleet.call(name, "takeBack", epoch: order.epoch) { [name] world in
            guard var loan = world.nodes[name]?.loan, loan.key == order.key else { throw Self.missing("loan") }
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
            guard let report = world.nodes[name]?.incoming, report.key == key else { throw Self.missing("attempt") }
            return report
        }
    }

    func handOver(_ server: ServerID, _ order: HandoverOrder) async throws -> IncomingReport {
        try await fleet.call(name, "handOver", epoch: order.epoch) { [name] world in
            guard var report = world.nodes[name]?.incoming, report.key == order.key else { throw Self.missing("attempt") }
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

    func host() async throws -> HostFacts { throw Self.missing("order") }
    func guest(_ server: ServerID) async throws -> GuestReport { throw Self.missing("order") }
    func define(_ server: ServerID, _ order: DefineOrder) async throws -> GuestReport { throw Self.missing("order") }
    func start(_ server: ServerID, _ order: StartOrder) async throws -> GuestReport { throw Self.missing("order") }
    func stop(_ server: ServerID, _ order: StopOrder) async throws -> GuestReport { throw Self.missing("order") }
    func delete(_ server: ServerID, _ order: DeleteOrder) async throws { throw Self.missing("order") }
    func prepare(_ server: ServerID, _ order: PrepareOrder) async throws -> IncomingReport { throw Self.missing("order") }
    func mirror(_ server: ServerID, _ order: MirrorOrder) async throws -> OutgoingReport { throw Self.missing("order") }
    func sendMemory(_ server: ServerID, _ order: MemoryOrder) async throws -> OutgoingReport { throw Self.missing("order") }
    func abort(_ server: ServerID, _ order: AbortOrder) async throws -> OutgoingReport { throw Self.missing("order") }
    func loan(_ server: ServerID, _ key: AttemptKey) async throws -> LoanReport { throw Self.missing("order") }
    func digests(_ server: ServerID, _ order: DigestOrder) async throws -> DigestReport { throw Self.missing("order") }
    func outgoing(_ server: ServerID, _ key: AttemptKey, seen: Int64, waitMS: Int64) async throws -> OutgoingReport {
        throw Self.missing("order")
    }
}
