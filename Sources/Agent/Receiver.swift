import AgentAPI
import Copying
import Fleet
import Foundation
import Glibc
import Hypervisor
import Logging

/// The target's end of a cold attempt: copies the files, verifies them, and says so on the disk. It goes on from its journals after this agent
/// was started anew, after the source's agent or daemon was, and after a cut.
actor Receiver {
    nonisolated let key: AttemptKey
    nonisolated let watched: Watched<IncomingReport>
    private let ledger: Ledger
    private let paths: GuestPaths
    private let host: HostContext
    private let logger: Logger
    private var receipt: ReceiptRecord
    private var set: CopySet?
    private let begun = ContinuousClock.now
    private var files: [LentFile] = []
    private var notes: [Reason] = []
    private var task: Task<Void, Never>?
    /// What was fetched when, over the last seconds.
    private var samples: [(time: ContinuousClock.Instant, fetched: Int64)] = []

    /// So long nothing may move before the copy is given up.
    private static let patience = Duration.seconds(60)

    init(_ record: IncomingRecord, of guest: Guest) {
        key = record.key
        ledger = guest.ledger
        paths = guest.paths
        host = guest.host
        receipt = record.receipt ?? ReceiptRecord(sourceAgentURL: "", enableTLS: false, verifies: true)
        var logger = guest.logger
        logger[metadataKey: "migration"] = "\(record.key.migration)/\(record.key.attempt)"
        self.logger = logger
        watched = Watched(Incoming.report(record))
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
        receipt.bandwidth = bandwidth
        receipt.sourceAgentURL = sourceAgentURL
        await set?.setRate(bandwidth)
    }

    nonisolated func show(_ phase: IncomingReport.Phase, reason: Reason? = nil) {
        watched.change {
            $0.phase = phase
            $0.reason = reason
            $0.version = max($0.version + 1, Timestamp.microseconds)
        }
    }

    // MARK: The copy

    private func run() async {
        await withDiscardingTaskGroup { group in
            group.addTask { await self.keepTelling() }
            await copy()
            group.cancelAll()
        }
    }

    private func copy() async {
        var moved = ContinuousClock.now
        var figures = CopyFigures()
        var tries = 0
        while !Task.isCancelled {
            do {
                return try await attempt()
            } catch is CancellationError {
                return
            } catch let problem as AgentProblem {
                let now = set?.figures ?? CopyFigures()
                if now != figures {
                    (moved, figures, tries) = (.now, now, 0)
                }
                let passes = problem.kind == .unreachable || problem.reason.code == .connectionLost
                guard passes, moved.duration(to: .now) < Self.patience else { return await fail(problem.reason) }
                tries += 1
                logger.notice("the copy is interrupted", metadata: ["problem": "\(problem)", "try": "\(tries)"])
                if tries == 1 {
                    notes.append(
                        Reason(
                            problem.reason.code,
                            "\(problem.reason.message); the copy goes on with \(now.bytesDone >> 20) of \(now.bytesTotal >> 20) MiB"))
                }
                tell()
                await Bell().wait(after: 0, until: .now.advanced(by: .milliseconds(min(2000, 200 << min(tries, 4)))))
            } catch {
                return await fail(Reason(.agentError, "the copy failed: \(error)"))
            }
        }
    }

    private func attempt() async throws {
        let agent = host.peers.agent(at: receipt.sourceAgentURL)
        let (server, key) = (paths.server, key)
        let loan = try await agent.loan(server, key)
        guard loan.phase == .lent else {
            throw AgentProblem(.conflict, .sourceLost, "the source does not lend server \(server) any more")
        }
        guard !receipt.enableTLS || loan.isEncrypted else {
            throw AgentProblem(.failed, .tlsRefused, "the source lends server \(server) unencrypted, and encryption was asked for")
        }
        let set = try await plan(loan)
        let certificates = loan.isEncrypted ? try StreamCertificates.folder(host.configuration) : nil
        try await set.run(
            from: CopySource(server: NBDServer(address: loan.address, port: loan.port, certificates: certificates)) { file, bytes, chunks in
                try await Self.digests(of: file, chunkBytes: bytes, chunks, server, key, agent)
            })
        try await set.putInPlace()
        try await checkBases()
        tell()
        let report = watched.value.receipt
        try await ledger.change { record in
            guard record.incoming?.key == key, record.incoming?.phase == .prepared else { throw CancellationError() }
            record.incoming?.phase = .received
            record.incoming?.receipt?.report = report
        }
        show(.received)
        try await set.forgetJournals()
    }

    /// What is to be copied: planned once, for the files do not change while they are lent.
    private func plan(_ loan: LoanReport) async throws -> CopySet {
        if let set { return set }
        if let guest = ledger.record.description { try LentFiles.require(loan.files, toMake: guest, paths) }
        files = loan.files
        var wanted: [FileToCopy] = []
        var needed: [String: Int64] = [:]
        for file in loan.files {
            if let storage = file.storage, paths.isShared(storage) {
                // It could be the very file that is to be read.
                throw AgentProblem(
                    .failed, .notShared,
                    "storage \(storage) is the source's own and shared on host \(host.configuration.name): give both hosts the same kind of it"
                )
            }
            let path = try LentFiles.path(of: file, paths)
            let isBase = file.path.hasPrefix(LentFiles.bases + "/")
            if isBase, access(path, F_OK) == 0 { continue }
            // Several servers may bring the same base at the same time.
            wanted.append(
                FileToCopy(
                    name: file.name, sizeBytes: file.sizeBytes, identity: file.identity, path: path, tag: isBase ? ".\(paths.server)" : ""))
            if let storage = file.storage { needed[storage, default: 0] += file.allocatedBytes }
        }
        var options = CopyOptions()
        options.verifies = receipt.verifies
        let set = CopySet(wanted, rate: receipt.bandwidth, options: options)
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

    /// A base image's name is made of its content.
    private func checkBases() async throws {
        for file in files where file.path.hasPrefix(LentFiles.bases + "/") {
            let path = try LentFiles.path(of: file, paths)
            let name = (path as NSString).lastPathComponent
            try await offloaded {
                let found = try Data(contentsOf: URL(fileURLWithPath: path), options: .alwaysMapped).withUnsafeBytes { Digest($0) }
                guard name.hasPrefix("\(found).") else {
                    throw AgentProblem(.failed, .verifyFailed, "\(path) has the content \(found), which is not what its name says")
                }
            }
        }
    }

    private func fail(_ reason: Reason) async {
        logger.warning("the copy failed", metadata: ["reason": .stringConvertible(reason)])
        let key = key
        do {
            try await ledger.change { record in
                guard record.incoming?.key == key, record.incoming?.phase == .prepared else { throw CancellationError() }
                record.incoming?.phase = .failed
                record.incoming?.reason = reason
            }
            show(.failed, reason: reason)
        } catch {
            logger.warning("that the copy failed cannot be written down", metadata: ["problem": "\(error)"])
        }
    }

    // MARK: Telling

    private func keepTelling() async {
        while !Task.isCancelled {
            await Bell().wait(after: 0, until: .now.advanced(by: .milliseconds(250)))
            if Task.isCancelled { return }
            tell()
        }
    }

    private func tell() {
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
        guard watched.value.receipt != report else { return }
        watched.change {
            $0.receipt = report
            $0.version = max($0.version + 1, Timestamp.microseconds)
        }
    }
}
