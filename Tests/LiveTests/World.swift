import AgentAPI
import AgentFakes
import Fleet

/// Hosts, their guests and what their agents wrote down: as far as the orders of a migration can tell, in memory and without time.
///
/// It moves by ticks, one for every look at a source's end. The two agents do the switchover by themselves, as the real ones do.
struct World: FakeWorld {
    struct Node: FakeNode {
        var epoch = Epoch.none
        /// Its vCPUs execute.
        var isRunning = false
        var hasDisks = false
        var outgoing: OutgoingReport?
        var leave: MemoryOrder?
        /// The bandwidths that orders named, each as it changed.
        var bandwidths: [Int64?] = []
        var incoming: IncomingReport?
        var refused: Set<AttemptKey> = []
        /// Its agent does not answer for so many calls.
        var silentCalls = 0
        /// How often a target was prepared afresh.
        var preparations = 0
        /// Features of its QEMU's CPU.
        var features: [String] = []
        var problems: [String: AgentProblem] = [:]
        /// The orders as they came.
        var prepared: [PrepareOrder] = []
        var mirrored: [MirrorOrder] = []
        var discarded: [DiscardOrder] = []
        /// Names of the base images on its storages.
        var bases: Set<String> = []
        var loan: LoanReport?
        /// What of them is being copied here.
        var copying: [String] = []
        /// The copy ends so.
        var copyFails: Reason?
        /// What failed attempts left.
        var kept: [KeptGuest] = []

        mutating func note(_ bandwidth: Int64?) {
            if bandwidths.last != .some(bandwidth) { bandwidths.append(bandwidth) }
        }
        var storages: [String: Storage.Kind] = ["local": .local, "shared": .shared]
        /// Storages on which it sees what the source wrote.
        var sees: Set<String> = ["shared"]
    }

    var nodes: [String: Node] = [:]
    /// False: the agents do not reach each other, the worker reaches both.
    var areAgentsConnected = true
    /// Done once when a source's end comes into a phase.
    var onPhase: [OutgoingReport.Phase: @Sendable (inout World) -> Void] = [:]
    /// Looks for which the source still has memory that the target fetches by post-copy; 0 without.
    var fetchingTicks = 0
    /// Moves nothing on any more.
    var isFrozen = false
    /// The last order to prepare a target.
    var prepared: PrepareOrder?
    private(set) var violations: [String] = []
    private var version: Int64 = 0

    static let diskBytes: Int64 = 1000
    static let baseBytes: Int64 = 500
    static let memoryBytes: Int64 = 300

    mutating func check() {
        let running = nodes.filter(\.value.isRunning).keys.sorted()
        if running.count > 1 { violations.append("running on \(running)") }
    }

    mutating func nextVersion() -> Int64 {
        version += 1
        return version
    }

    // MARK: what happens by itself

    mutating func tick(_ name: String) {
        guard !isFrozen, var report = nodes[name]?.outgoing else { return }
        let before = report.phase
        switch report.phase {
        case .mirroring:
            report.progress.diskTotal = Self.diskBytes
            report.progress.diskDone = min(Self.diskBytes, report.progress.diskDone + 400)
            report.progress.rate = 400_000
            if report.progress.diskDone == Self.diskBytes { report.phase = .mirrored }
        case .mirrored where nodes[name]?.leave != nil: report.phase = .memory
        case .memory:
            report.progress.memoryTotal = Self.memoryBytes
            report.progress.memoryTransferred += 100
            report.progress.memoryRemaining = max(0, Self.memoryBytes - report.progress.memoryTransferred)
            report.progress.rate = 100_000
            if report.progress.memoryRemaining == 0 {
                report.phase = .switching
                nodes[name]?.isRunning = false
            }
        case .switching:
            report.phase = .handedOver
            if let (target, key) = target(of: name) {
                if nodes[target]?.incoming?.key == key, nodes[target]?.incoming?.phase == .prepared { setIncoming(target, .received) }
            }
        case .handedOver:
            if areAgentsConnected, let (target, key) = target(of: name), take(target, key) {
                report.phase = .confirmed
                report.blackout = Blackout(
                    lastPassUS: 1, diskDrainUS: 2, deviceStateUS: 3, handoverUS: 4, resumeUS: 5, totalUS: 15)
                if fetchingTicks > 0 {
                    report.postCopy = .fetching
                    nodes[target]?.incoming?.postCopy = .fetching
                }
            }
        case .confirmed where report.postCopy == .fetching:
            fetchingTicks -= 1
            guard fetchingTicks <= 0, let (target, _) = target(of: name) else { break }
            report.postCopy = .complete
            nodes[target]?.incoming?.postCopy = .complete
        case .mirrored, .confirmed, .aborted, .failed: return
        }
        report.version = nextVersion()
        nodes[name]?.outgoing = report
        check()
        if report.phase != before { enter(report.phase) }
    }

    private mutating func enter(_ phase: OutgoingReport.Phase) {
        if let happens = onPhase.removeValue(forKey: phase) { happens(&self) }
        check()
    }

    private func target(of source: String) -> (String, AttemptKey)? {
        guard let leave = nodes[source]?.leave else { return nil }
        return (String(leave.targetAgentURL.dropFirst("https://".count)), leave.key)
    }

    /// The target takes the guest over, if it still can.
    mutating func take(_ target: String, _ key: AttemptKey) -> Bool {
        guard let incoming = nodes[target]?.incoming, incoming.key == key else { return false }
        switch incoming.phase {
        case .owned, .running: return true
        case .received:
            nodes[target]?.isRunning = true
            setIncoming(target, .running)
            check()
            return true
        case .prepared, .refused, .failed: return false
        }
    }

    /// The copy of base images at a host comes a step further.
    mutating func tickCopy(_ name: String) {
        guard !isFrozen, var report = nodes[name]?.incoming, var receipt = report.receipt, report.phase == .prepared else { return }
        receipt.bytesTotal = Self.baseBytes
        receipt.bytesDone = min(Self.baseBytes, receipt.bytesDone + 200)
        receipt.bytesFetched = receipt.bytesDone
        receipt.rate = 200_000
        report.receipt = receipt
        if !nodes.values.contains(where: { $0.loan?.key == report.key && $0.loan?.phase == .lent }) {
            violations.append("copied what nobody lends")
        }
        if receipt.bytesDone > 200, let reason = nodes[name]?.copyFails {
            report.phase = .failed
            report.reason = reason
        } else if receipt.bytesDone == Self.baseBytes {
            report.phase = .received
            let copied = nodes[name]?.copying ?? []
            nodes[name]?.bases.formUnion(copied)
        }
        report.version = nextVersion()
        nodes[name]?.incoming = report
    }

    mutating func setIncoming(_ name: String, _ phase: IncomingReport.Phase, _ reason: Reason? = nil) {
        let version = nextVersion()
        nodes[name]?.incoming?.phase = phase
        nodes[name]?.incoming?.reason = reason
        nodes[name]?.incoming?.version = version
    }

    // MARK: what a test does to it

    /// The target's QEMU dies: before the handover the source's streams break and its guest runs on.
    mutating func killTarget(_ target: String, source: String) {
        setIncoming(target, .failed, Reason(.targetLost, "QEMU on \(target) died."))
        endSource(source, .failed, Reason(.connectionLost, "The connection broke."))
    }

    mutating func endSource(_ source: String, _ phase: OutgoingReport.Phase, _ reason: Reason?, isRunning: Bool = true) {
        guard let now = nodes[source]?.outgoing?.phase, ![.handedOver, .confirmed].contains(now) else { return }
        let version = nextVersion()
        nodes[source]?.outgoing?.phase = phase
        nodes[source]?.outgoing?.reason = reason
        nodes[source]?.outgoing?.version = version
        nodes[source]?.isRunning = isRunning
        check()
    }
}
