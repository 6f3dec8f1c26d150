import AgentAPI
import Attempts
import Copying
import Fleet
import Hypervisor
import Logging

/// The target's end of a copy: of a stopped server's files, or of the base images that a running one rests on. Has them copied, and says so on
/// the disk.
actor Receiver {
    nonisolated let key: AttemptKey
    nonisolated let watched: Watched<IncomingReport>
    private let ledger: Ledger
    private let logger: Logger
    private let copy: LoanCopy
    private var task: Task<Void, Never>?

    init(_ record: IncomingRecord, _ receipt: ReceiptRecord, of server: GuestDescription, guest: Guest) {
        key = record.key
        ledger = guest.ledger
        var logger = guest.logger
        logger[metadataKey: "migration"] = "\(record.key.migration)/\(record.key.attempt)"
        self.logger = logger
        let watched = Watched(Incoming.report(record))
        self.watched = watched
        copy = LoanCopy(
            record.key,
            LoanCopy.Terms(
                server: server, bases: receipt.bases, sourceAgentURL: receipt.sourceAgentURL, bandwidth: receipt.bandwidth,
                enableTLS: receipt.enableTLS, verifies: receipt.verifies),
            paths: guest.paths, credentials: guest.host.credentials, peers: guest.host.peers, logger: logger
        ) { report in
            guard watched.value.receipt != report else { return }
            watched.change {
                $0.receipt = report
                $0.version = max($0.version + 1, Timestamp.microseconds)
            }
        }
    }

    func start() {
        guard task == nil, watched.value.phase == .prepared else { return }
        task = Task { await run() }
    }

    /// Ends the copy where it is.
    func stop() async {
        task?.cancel()
        await task?.value
        watched.change { $0.version = max($0.version + 1, Timestamp.microseconds) }
    }

    /// Takes what an order says anew about a copy under way.
    func renew(bandwidth: Int64?, sourceAgentURL: String) async {
        await copy.renew(bandwidth: bandwidth, sourceAgentURL: sourceAgentURL)
    }

    nonisolated func show(_ phase: IncomingReport.Phase, reason: Reason? = nil) {
        watched.change {
            $0.phase = phase
            $0.reason = reason
            $0.version = max($0.version + 1, Timestamp.microseconds)
        }
    }

    private func run() async {
        do {
            try await copy.run()
            let report = watched.value.receipt
            try await end(.received) { $0.receipt?.report = report }
            show(.received)
            try await copy.forgetJournals()
        } catch is CancellationError {
            return
        } catch {
            await fail((error as? AgentProblem)?.reason ?? Reason(.agentError, "the copy failed: \(error)"))
        }
    }

    private func end(_ phase: IncomingReport.Phase, _ body: @escaping @Sendable (inout IncomingRecord) -> Void) async throws {
        let key = key
        try await ledger.change { record in
            guard var incoming = record.incoming, incoming.key == key, incoming.phase == .prepared else { throw CancellationError() }
            incoming.phase = phase
            body(&incoming)
            record.incoming = incoming
        }
    }

    private func fail(_ reason: Reason) async {
        logger.warning("the copy failed", metadata: ["reason": .stringConvertible(reason)])
        do {
            try await end(.failed) { $0.reason = reason }
            show(.failed, reason: reason)
        } catch {
            logger.warning("that the copy failed cannot be written down", metadata: ["problem": "\(error)"])
        }
    }
}
