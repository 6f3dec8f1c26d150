package import AgentAPI
package import Fleet
import Foundation
import Glibc
package import Hypervisor
package import Logging

/// The copy of what another host's agent lends under an attempt's key: fetched, verified, and in place. It goes on from its journals after
/// this agent was started anew, after the source's agent or daemon was, and after a cut.
package actor LoanCopy {
    /// What is copied from where, and how.
    package struct Terms: Hashable, Sendable {
        package var server: GuestDescription
        /// Names of the base images, when those alone are copied; nil for all that the server has.
        package var bases: [String]?
        package var sourceAgentURL: String
        /// Bytes a second over all files together; nil is without limit.
        package var bandwidth: Int64?
        package var enableTLS: Bool
        package var verifies: Bool

        package init(
            server: GuestDescription, bases: [String]?, sourceAgentURL: String, bandwidth: Int64?, enableTLS: Bool, verifies: Bool
        ) {
            self.server = server
            self.bases = bases
            self.sourceAgentURL = sourceAgentURL
            self.bandwidth = bandwidth
            self.enableTLS = enableTLS
            self.verifies = verifies
        }
    }

    private let key: AttemptKey
    private var terms: Terms
    private let paths: GuestPaths
    private let credentials: StreamCredentials
    private let peers: AgentPool
    private let logger: Logger
    private let tell: @Sendable (ReceiptReport) -> Void
    private var set: CopySet?
    private let begun = ContinuousClock.now
    private var files: [LentFile] = []
    private var notes: [Reason] = []
    /// What was fetched when, over the last seconds.
    private var samples: [(time: ContinuousClock.Instant, fetched: Int64)] = []

    /// So long nothing may move before the copy is given up: the longest stall deadline. A worker that was asked for a shorter one ends it earlier.
    private static let patience = Duration.seconds(86_400)

    /// - Parameter tell: called with how far it is, several times a second while it runs.
    package init(
        _ key: AttemptKey, _ terms: Terms, paths: GuestPaths, credentials: StreamCredentials, peers: AgentPool, logger: Logger,
        tell: @escaping @Sendable (ReceiptReport) -> Void
    ) {
        self.key = key
        self.terms = terms
        self.paths = paths
        self.credentials = credentials
        self.peers = peers
        self.logger = logger
        self.tell = tell
    }

    /// Takes what an order says anew about a copy under way.
    package func renew(bandwidth: Int64?, sourceAgentURL: String) async {
        terms.bandwidth = bandwidth
        terms.sourceAgentURL = sourceAgentURL
        await set?.setRate(bandwidth)
    }

    /// Copies until all of it is here, verified and in place, over whatever passes by itself.
    /// - Throws: ``AgentProblem`` when it cannot be had; `CancellationError`.
    package func run() async throws {
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { await self.keepTelling() }
            defer { group.cancelAll() }
            try await copy()
        }
    }

    private func copy() async throws {
        var moved = ContinuousClock.now
        var figures = CopyFigures()
        var tries = 0
        var refusals = 0
        while true {
            try Task.checkCancellation()
            do {
                return try await attempt()
            } catch let problem as AgentProblem {
                let now = set?.figures ?? CopyFigures()
                if now != figures {
                    (moved, figures, tries) = (.now, now, 0)
                }
                // A server that was killed in the middle of a handshake looks like one that refuses this host.
                refusals = problem.reason.code == .tlsRefused ? refusals + 1 : 0
                let passes = problem.kind == .unreachable || problem.reason.code == .connectionLost || 1..<3 ~= refusals
                guard passes, moved.duration(to: .now) < Self.patience else { throw problem }
                tries += 1
                logger.notice("the copy is interrupted", metadata: ["problem": "\(problem)", "try": "\(tries)"])
                if tries == 1 {
                    notes.append(
                        Reason(
                            problem.reason.code,
                            "\(problem.reason.message); the copy goes on with \(now.bytesDone >> 20) of \(now.bytesTotal >> 20) MiB"))
                }
                look()
                await Bell().wait(after: 0, until: .now.advanced(by: .milliseconds(min(2000, 200 << min(tries, 4)))))
            }
        }
    }

    private func attempt() async throws {
        let agent = peers.agent(at: terms.sourceAgentURL)
        let (server, key) = (paths.server, key)
        let loan = try await agent.loan(server, key)
        guard loan.phase == .lent else {
            throw AgentProblem(.conflict, .sourceLost, "the source does not lend server \(server) any more")
        }
        guard !terms.enableTLS || loan.isEncrypted else {
            throw AgentProblem(.failed, .tlsRefused, "the source lends server \(server) unencrypted, and encryption was asked for")
        }
        let set = try await plan(loan)
        let certificates = loan.isEncrypted ? credentials.folder : nil
        try await set.run(
            from: CopySource(server: NBDServer(address: loan.address, port: loan.port, certificates: certificates)) { file, bytes, chunks in
                try await Self.digests(of: file, chunkBytes: bytes, chunks, server, key, agent)
            })
        try await set.putInPlace()
        look()
    }

    /// Removes the journals, once something else remembers that the files are here.
    package func forgetJournals() async throws { try await set?.forgetJournals() }

    /// What is to be copied: planned once, for the files do not change while they are lent.
    private func plan(_ loan: LoanReport) async throws -> CopySet {
        if let set { return set }
        try LentFiles.require(loan.files, toMake: terms.server, bases: terms.bases, paths)
        files = loan.files
        var wanted: [FileToCopy] = []
        var needed: [String: Int64] = [:]
        for file in loan.files {
            let path = try LentFiles.path(of: file, paths)
            let isBase = LentFiles.isBase(file)
            if isBase, access(path, F_OK) == 0 { continue }
            wanted.append(
                FileToCopy(
                    name: file.name, sizeBytes: file.sizeBytes, identity: file.identity, path: path,
                    // Several servers may bring the same base at the same time.
                    tag: isBase ? ".\(paths.server)" : "", isNamedByContent: isBase))
            if let storage = file.storage { needed[storage, default: 0] += file.allocatedBytes }
        }
        var options = CopyOptions()
        options.verifies = terms.verifies
        let set = CopySet(wanted, rate: terms.bandwidth, options: options)
        for (storage, bytes) in needed {
            let folder = try paths.storageFolder(storage)
            try DiskImages.checkRoom(for: max(0, bytes - set.bytesThere(below: folder)), in: folder, storage: storage)
        }
        self.set = set
        return set
    }

    private static func digests(
        of file: String, chunkBytes: Int, _ chunks: [Range<Int>], _ server: ServerID, _ key: AttemptKey, _ agent: AgentClient
    ) async throws -> [Digest?] {
        let order = DigestOrder(
            key: key, file: file, chunkBytes: chunkBytes, chunks: chunks.map { DigestOrder.Run(first: $0.lowerBound, count: $0.count) })
        let deadline = ContinuousClock.now.advanced(by: .seconds(30))
        while true {
            do {
                return try await agent.digests(server, order).digests.map { text in
                    guard !text.isEmpty else { return nil }
                    guard let digest = Digest(text) else {
                        throw AgentProblem(.failed, .agentError, "the source's agent answered with \"\(text)\" for a digest")
                    }
                    return digest
                }
            } catch let problem as AgentProblem where problem.kind == .unreachable && ContinuousClock.now < deadline {
                // An agent that is started anew leaves its daemon, and the copy goes on meanwhile.
                try await Task.sleep(for: .milliseconds(300))
            }
        }
    }

    // MARK: Telling

    private func keepTelling() async {
        while !Task.isCancelled {
            await Bell().wait(after: 0, until: .now.advanced(by: .milliseconds(250)))
            if Task.isCancelled { return }
            look()
        }
    }

    private func look() { tell(report) }

    /// How far it is.
    package var report: ReceiptReport {
        let figures = set?.figures ?? CopyFigures()
        let now = ContinuousClock.now
        samples.append((now, figures.bytesFetched))
        samples.removeAll { $0.time.duration(to: now) > .seconds(3) }
        var report = ReceiptReport(
            files: files.count, bytesTotal: figures.bytesTotal, bytesDone: figures.bytesDone, bytesVerified: figures.bytesVerified,
            bytesFetched: figures.bytesFetched, bytesCompared: figures.bytesCompared, chunksRepaired: figures.chunksRepaired,
            events: notes + (set?.events ?? []))
        if let first = samples.first, case let span = first.time.duration(to: now).inMilliseconds, span > 0 {
            report.rate = max(0, figures.bytesFetched - first.fetched) * 1000 / span
        }
        report.copyMS = set?.fetchedAt.map { begun.duration(to: $0).inMilliseconds }
        return report
    }
}
