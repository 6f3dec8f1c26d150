import AgentAPI
import AgentFakes
import Fleet

/// Hosts and what their agents wrote down, as far as the orders of a cold migration can tell, in memory and without time.
struct World: FakeWorld {
    struct Node: FakeNode {
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
