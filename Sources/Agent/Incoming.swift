import AgentAPI
import Attempts
import Fleet
import Foundation
import Hypervisor
import Logging
import QMP

/// The target's end of an attempt: takes the memory stream in, waits for the handover, and runs the guest once it is owned.
actor Incoming {
    nonisolated let key: AttemptKey
    nonisolated let bell = Bell()
    nonisolated let watched: Watched<IncomingReport>
    private let ledger: Ledger
    private let tpm: TPMState
    let process: GuestProcess?
    private let listener: StreamSocket?
    let logger: Logger
    private var task: Task<Void, Never>?
    private var isStopped = false
    private var announcement: Task<Void, Never>?
    private var threads: [Int] = []
    private var isTaking = false
    private var hasPostCopyBegun = false
    /// QEMU's `MigrationStatus` as its latest event told it. A main loop that waits for memory answers nothing, and yet tells that.
    var streamStatus: String?
    private let turnstile = Turnstile()

    /// - Parameter listener: where the source's agent connects for the memory stream.
    init(_ record: IncomingRecord, of guest: Guest, process: GuestProcess?, listener: StreamSocket?) {
        self.key = record.key
        self.ledger = guest.ledger
        self.tpm = guest.tpm
        self.process = process
        self.listener = listener
        var logger = guest.logger
        logger[metadataKey: "migration"] = "\(record.key.migration)/\(record.key.attempt)"
        self.logger = logger
        self.watched = Watched(Self.report(record))
    }

    static func report(_ record: IncomingRecord) -> IncomingReport {
        IncomingReport(
            epoch: record.epoch, key: record.key, phase: record.phase, version: Timestamp.microseconds,
            endpoints: record.phase == .refused || record.phase == .failed ? nil : record.endpoints, reason: record.reason,
            ownershipUS: record.ownershipUS, resumeUS: record.resumeUS, vcpuProgressMS: record.vcpuProgressMS, postCopy: record.postCopy,
            receipt: record.receipt.map { $0.report ?? ReceiptReport() }, isPaused: record.isPaused)
    }

    func start() {
        guard task == nil, !isStopped else { return }
        task = Task { await run() }
    }

    func stop() async {
        isStopped = true
        task?.cancel()
        announcement?.cancel()
        await task?.value
        await announcement?.value
        // Whoever waits on this report is to look anew.
        watched.change { $0.version = max($0.version + 1, Timestamp.microseconds) }
    }

    var record: IncomingRecord? {
        guard let incoming = ledger.record.incoming, incoming.key == key else { return nil }
        return incoming
    }

    func show(_ phase: IncomingReport.Phase, _ body: (inout IncomingReport) -> Void = { _ in }) {
        watched.change {
            $0.phase = phase
            if phase == .refused || phase == .failed { $0.endpoints = nil }
            body(&$0)
            $0.version = max($0.version + 1, Timestamp.microseconds)
        }
    }

    // MARK: The loop

    private func run() async {
        let events = process?.monitor.events()
        await withDiscardingTaskGroup { group in
            if let events {
                group.addTask {
                    for await event in events { await self.note(event) }
                    self.bell.ring()
                }
            }
            group.addTask { await self.acceptMemory() }
            while !Task.isCancelled {
                let rings = bell.rings
                guard await turn() else { break }
                await bell.wait(after: rings, until: .now.advanced(by: .milliseconds(500)))
            }
            group.cancelAll()
        }
    }

    private func note(_ event: QMPEvent) {
        if event.name == "MIGRATION", let status = event.data["status"]?.string { streamStatus = status }
        bell.ring()
    }

    /// False when there is nothing left to drive.
    private func turn() async -> Bool {
        guard let record else { return false }
        if isTaking { return true }
        do {
            let step = IncomingMachine.next(record, shown: watched.value.phase, try await look(record))
            switch step {
            case .done: return false
            case .wait: break
            case .noteReceived:
                // The source has ended its mirrors before it sent the last of its state.
                if let process { try await removeExports(process.monitor) }
                threads = try await process?.monitor.queryCPUsFast().map(\.threadID) ?? []
                // The handover may have come meanwhile.
                if watched.value.phase == .prepared { show(.received) }
            case .run: try await resume(ownershipUS: record.ownershipUS)
            case .leavePaused: try await leavePaused()
            case .noteRunning: try await noteRunning(resumeUS: record.resumeUS)
            case .noteEnded(let reason): try await noteEnded(reason)
            case .notePostCopy(let state): try await notePostCopy(state)
            case .fail(let reason): try await fail(reason)
            }
        } catch is CancellationError {
            return false
        } catch {
            // The next look tells whether QEMU is gone.
            logger.info("a step of an incoming migration failed", metadata: ["problem": "\(error)"])
        }
        return true
    }

    func look(_ record: IncomingRecord) async throws -> IncomingMachine.Sight {
        guard let process, process.isAlive else { return IncomingMachine.Sight(isAlive: false, isRunning: false, memory: .none) }
        // Once the guest runs and fetches, QEMU's main loop may answer late or not at all, and its events tell.
        let isFetching = record.isFetching && watched.value.phase == .running
        if isFetching, Self.isInterrupted(streamStatus) {
            return IncomingMachine.Sight(isAlive: true, isRunning: true, memory: .interrupted)
        }
        let deadline: Duration = isFetching ? .seconds(1) : QMPClient.defaultDeadline
        do {
            async let asked = process.monitor.queryMigrate(deadline: deadline)
            async let state = process.monitor.queryStatus(deadline: deadline)
            let (migration, status) = (try await asked, try await state)
            var memory = IncomingMachine.Memory(migration.status, failure: migration.errorDesc)
            switch memory {
            case .completed, .postCopy, .interrupted: if status.status == "inmigrate" { memory = .moving }
            case .none, .moving, .failed: break
            }
            return IncomingMachine.Sight(isAlive: true, isRunning: status.running, memory: memory)
        } catch let error as QMPError where error.code == .deadline && isFetching {
            return IncomingMachine.Sight(isAlive: true, isRunning: true, memory: IncomingMachine.Memory(streamStatus, failure: nil))
        }
    }

    static func isInterrupted(_ status: String?) -> Bool { status == "postcopy-paused" || status == "postcopy-recover" }

    func change(_ body: @escaping @Sendable (inout IncomingRecord) -> Void) async throws {
        let key = key
        try await ledger.change { record in
            guard var incoming = record.incoming, incoming.key == key else { throw CancellationError() }
            body(&incoming)
            record.incoming = incoming
        }
    }

    private func fail(_ reason: Reason) async throws {
        logger.warning("the incoming migration failed", metadata: ["reason": .stringConvertible(reason)])
        try await change {
            guard $0.phase == .prepared || $0.phase == .received else { return }
            $0.phase = .failed
            $0.reason = reason
        }
        guard record?.phase == .failed else { return }
        show(.failed) { $0.reason = reason }
        if let process, process.isAlive { try await process.end() }
    }

    /// Takes the connections that name this attempt: the one for memory and, with post-copy, one more for each time that the stream broke.
    private func acceptMemory() async {
        guard let listener, let process else { return }
        await withDiscardingTaskGroup { group in
            var count = 0
            while !Task.isCancelled, process.isAlive {
                do {
                    let socket = try await listener.accept()
                    switch try await socket.line(within: .seconds(2)) {
                    case StreamSocket.preamble(key):
                        let name = "memory-\(fingerprint(key.migration.value).prefix(8))-\(key.attempt)"
                        try await process.monitor.sendDescriptor(socket.descriptor, name: name)
                        try await process.monitor.migrateIncoming(uri: "fd:" + name)
                        guard record?.streams?.isPostCopyAllowed == true else { return }
                    case StreamSocket.rejoining(key):
                        count += 1
                        if let relay = try await rejoin(socket, process, count: count) { group.addTask { await relay.run() } }
                        try await awaitJoined()
                        socket.release()
                    default: logger.warning("a connection to the memory port does not belong to this migration")
                    }
                } catch is CancellationError {
                    break
                } catch {
                    logger.warning("a stream of memory cannot be taken", metadata: ["problem": "\(error)"])
                    do { try await Task.sleep(for: .milliseconds(50)) } catch { break }
                }
            }
            group.cancelAll()
        }
    }

    // MARK: The handover

    /// Owns the guest and runs it.
    /// - Throws: ``AgentProblem`` when it was refused, or when its state is not here.
    func take(_ order: HandoverOrder) async throws -> IncomingReport {
        let received = ContinuousClock.now
        return try await turnstile.pass { try await own(order, received) }
    }

    private func own(_ order: HandoverOrder, _ received: ContinuousClock.Instant) async throws -> IncomingReport {
        isTaking = true
        defer {
            isTaking = false
            bell.ring()
        }
        if watched.value.phase == .prepared || watched.value.phase == .received { try await awaitState() }
        let isFetching = hasPostCopyBegun
        let isNew = try await ledger.change(isUrgent: true) {
            try $0.take(order, isFetching: isFetching, ownershipUS: received.duration(to: .now).inMicroseconds)
        }
        if isNew {
            let ownership = received.duration(to: .now).inMicroseconds
            show(.owned) {
                $0.ownershipUS = ownership
                if isFetching { $0.postCopy = .fetching }
                $0.isPaused = order.isPaused
            }
        }
        if watched.value.phase == .owned, process?.isAlive != true {
            try await noteEnded(IncomingMachine.ended)
        } else if watched.value.phase == .owned {
            if watched.value.isPaused == true { try await leavePaused() } else { try await resume(ownershipUS: watched.value.ownershipUS) }
        }
        return watched.value
    }

    private func awaitState() async throws {
        guard let process else { throw AgentProblem(.conflict, .targetLost, "the guest's QEMU on the target is gone") }
        let deadline = ContinuousClock.now.advanced(by: .seconds(10))
        while true {
            let rings = bell.rings
            guard let record else { throw AgentProblem(.notFound, .invalidRequest, "the attempt is gone") }
            let sight = try await look(record)
            if [.completed, .postCopy, .interrupted].contains(sight.memory) {
                hasPostCopyBegun = sight.memory != .completed
                break
            }
            guard process.isAlive, ContinuousClock.now < deadline else {
                throw AgentProblem(.conflict, .targetLost, "the guest's state is not here in full")
            }
            await bell.wait(after: rings, until: min(deadline, .now.advanced(by: .milliseconds(20))))
            try Task.checkCancellation()
        }
        if threads.isEmpty { threads = try await process.monitor.queryCPUsFast().map(\.threadID) }
        if watched.value.phase == .prepared { show(.received) }
    }

    /// Has nobody write to the disks but the guest. Not by `nbd-server-stop`, in which QEMU 7.2 hangs for good, guest and all, while any
    /// client has not ended its handshake; the server stays, and has nothing to give.
    private func removeExports(_ monitor: QMPClient) async throws {
        let deadline = ContinuousClock.now.advanced(by: .seconds(5))
        while true {
            let rings = bell.rings
            let exports = try await monitor.queryBlockExports()
            guard !exports.isEmpty else { return }
            for export in exports where !export.shuttingDown {
                do {
                    try await monitor.blockExportDel(export.id, mode: .hard)
                } catch let error as QMPError where error.code == .command {
                    // It has ended meanwhile.
                }
            }
            guard ContinuousClock.now < deadline else {
                throw AgentProblem(.failed, .qemuError, "QEMU does not let go of its exports")
            }
            // Rung by BLOCK_EXPORT_DELETED.
            await bell.wait(after: rings, until: .now.advanced(by: .milliseconds(20)))
            try Task.checkCancellation()
        }
    }

    /// Has QEMU let go of its exports and run.
    private func resume(ownershipUS: Int64?) async throws {
        guard let process else { throw AgentProblem(.failed, .guestStopped, "the guest's QEMU is gone") }
        let monitor = process.monitor
        try await removeExports(monitor)
        try await tpm.settle(ledger.record.description)
        let executed = process.executed(threads: threads)
        let begin = ContinuousClock.now
        // QEMU answers when the guest runs; RESUME comes before the answer.
        try await monitor.cont()
        let resumeUS = begin.duration(to: .now).inMicroseconds
        show(.running) { $0.resumeUS = resumeUS }
        announcement = Task { await self.announce(begin, executed: executed, resumeUS: resumeUS) }
    }

    /// Has the guest stand still here as it did at the source, with its disks its own, so that it can be resumed or moved on.
    private func leavePaused() async throws {
        guard let process else { throw AgentProblem(.failed, .guestStopped, "the guest's QEMU is gone") }
        try await removeExports(process.monitor)
        try await tpm.settle(ledger.record.description)
        try await process.monitor.activateDisks(ledger.record.description?.disks.map(\.name) ?? [])
        try await noteRunning(resumeUS: nil)
    }

    /// What follows the switch and need not be waited for: switches learn where the guest is, the record learns that it runs, and the
    /// virtual CPUs are seen to execute.
    private func announce(_ begin: ContinuousClock.Instant, executed before: UInt64, resumeUS: Int64) async {
        guard let process else { return }
        do {
            // The record does not wait for QEMU, whose main loop may be waiting for memory by now.
            async let announced: Void = process.monitor.announceSelf()
            try await noteRunning(resumeUS: resumeUS)
            try await announced
            if threads.isEmpty { threads = try await process.monitor.queryCPUsFast().map(\.threadID) }
            let deadline = begin.advanced(by: .seconds(10))
            // Being woken costs a thread some microseconds too; a guest that runs soon uses more.
            while process.executed(threads: threads) < before + 300_000 {
                guard ContinuousClock.now < deadline, process.isAlive else { return }
                try await Task.sleep(for: .milliseconds(2))
            }
            let milliseconds = begin.duration(to: .now).inMilliseconds
            try await change { $0.vcpuProgressMS = milliseconds }
            show(.running) { $0.vcpuProgressMS = milliseconds }
        } catch is CancellationError {
            return
        } catch {
            logger.warning("after the switch", metadata: ["problem": "\(error)"])
        }
    }

    /// Nobody waits any more for a guest that will not run: its placement is to follow it.
    private func noteEnded(_ reason: Reason) async throws {
        logger.error("the guest ended before it ran here", metadata: ["reason": .stringConvertible(reason)])
        try await change {
            guard $0.phase == .owned else { return }
            $0.phase = .running
            if $0.postCopy != nil { $0.postCopy = .lost }
            $0.reason = reason
        }
        guard let record, record.phase == .running else { return }
        show(.running) {
            $0.postCopy = record.postCopy
            $0.reason = reason
        }
    }

    private func noteRunning(resumeUS: Int64?) async throws {
        try await change {
            if $0.phase == .owned { $0.phase = .running }
            $0.resumeUS = resumeUS
        }
        if watched.value.phase != .running { show(.running) { $0.resumeUS = resumeUS } }
    }
}

extension Duration {
    /// Whole microseconds, rounded towards zero.
    var inMicroseconds: Int64 {
        components.seconds * 1_000_000 + components.attoseconds / 1_000_000_000_000
    }
}
