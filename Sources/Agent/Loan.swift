import AgentAPI
import Attempts
import Copying
import Fleet
import Foundation
import Hypervisor
import Logging

/// Keeps a loan's daemon running for as long as the record says that the files are lent. The daemon outlives the agent; one that died is
/// started anew, under another port.
actor Loan {
    nonisolated let key: AttemptKey
    private let ledger: Ledger
    private let paths: GuestPaths
    private let host: HostContext
    private let logger: Logger
    private var daemon: StorageDaemon?
    private var watch: Task<Void, Never>?
    private let turnstile = Turnstile()

    init(_ record: LoanRecord, of guest: Guest) {
        key = record.key
        ledger = guest.ledger
        paths = guest.paths
        host = guest.host
        logger = guest.logger
    }

    private var record: LoanRecord? {
        guard let loan = ledger.record.loan, loan.key == key else { return nil }
        return loan
    }

    /// Has the files lent.
    func open() async throws {
        // Also where it does not succeed at once: nobody orders it a second time.
        if watch == nil {
            watch = Task { [weak self] in
                while !Task.isCancelled {
                    await Bell().wait(after: 0, until: .now.advanced(by: .milliseconds(500)))
                    guard !Task.isCancelled, let self else { return }
                    await self.look()
                }
            }
        }
        try await ensure()
    }

    private func look() async {
        guard let record, record.phase == .lent, record.files.contains(where: { $0.sizeBytes > 0 }) else { return }
        daemon?.renew()
        guard daemon?.isAlive != true else { return }
        do {
            logger.notice("the daemon that lends the server's files is gone and is started anew")
            try await ensure()
        } catch {
            logger.warning("the server's files cannot be lent", metadata: ["problem": "\(error)"])
        }
    }

    private func ensure() async throws {
        try await turnstile.pass {
            guard let record, record.phase == .lent, daemon?.isAlive != true else { return }
            if let found = try StorageDaemon.find(pidPath: paths.loanPID), record.port != 0 {
                daemon = found
                found.renew()
                return
            }
            // One that was started and never noted down lends nobody knows where.
            try await StorageDaemon.find(pidPath: paths.loanPID)?.end()
            let files = record.files.filter { $0.sizeBytes > 0 }
            guard !files.isEmpty else { return }
            let (key, paths) = (key, paths)
            // What is noted is where the daemon lends that is about to start, or nothing.
            if record.port != 0 { try await ledger.change { if $0.loan?.key == key { $0.loan?.port = 0 } } }
            let listener = try StreamSocket.listen(host.migrationAddress, port: 0)
            let exports = try files.map { StorageDaemon.Export(name: $0.name, path: try LentFiles.path(of: $0, paths)) }
            do {
                daemon = try await StorageDaemon.start(
                    host.storageDaemon, lending: exports, on: listener,
                    certificates: record.enableTLS ? host.credentials.folder : nil,
                    peer: record.target.map { StreamCredentials.identity(of: $0) }, pidPath: paths.loanPID,
                    logPath: paths.loanLog)
            } catch let problem as AgentProblem where problem.reason.code == .tlsRefused {
                throw AgentProblem(
                    .failed, .tlsRefused, "\(problem.reason.message): \(StreamCredentials.remedy(host.migrationAddress))")
            }
            let port = listener.port
            try await ledger.change { if $0.loan?.key == key { $0.loan?.port = port } }
        }
    }

    /// Leaves the daemon to itself.
    func stop() async {
        watch?.cancel()
        await watch?.value
        watch = nil
    }

    /// Ends the loan's daemon; whoever reads from it is cut off.
    /// - Throws: ``AgentProblem`` when the daemon is still there.
    func end() async throws {
        await stop()
        try await turnstile.pass {
            try await (daemon ?? StorageDaemon.find(pidPath: paths.loanPID))?.end()
            daemon = nil
        }
    }
}
