import AgentAPI
import Fleet
import Foundation
import Glibc
import Logging
import QMP

/// The source's end of an attempt: carries out what ``OutgoingMachine`` decides.
actor Outgoing {
    nonisolated let key: AttemptKey
    nonisolated let bell = Bell()
    nonisolated let watched: Watched<OutgoingReport>
    private let server: ServerID
    private let host: HostContext
    private let ledger: Ledger
    private let process: GuestProcess?
    private let disks: [String]
    private let logger: Logger
    private var task: Task<Void, Never>?
    private var isStopped = false

    /// Disks whose NBD node is attached, as far as we know without asking.
    private var attached: Set<String> = []
    private var isInherited: Bool
    private var draining: Set<String> = []
    private var windowOpened: ContinuousClock.Instant?
    private var timeline: SwitchTimeline
    private var jobErrors: [String: Reason] = [:]
    private var ladder: DowntimeLadder?
    private var speeds: Speeds?
    /// Our copies of what QEMU sends through: by them timeouts can be set. While they are open the peer does not learn that QEMU died, so
    /// they go as soon as it does.
    private var sockets: [StreamSocket] = []
    private var events: [String]
    private var meter = ProgressMeter()
    private var published: ContinuousClock.Instant?
    private var troubles = 0
    private var delivery = Delivery()

    private struct Delivery {
        var tries = 0
        var notBefore = ContinuousClock.now
    }

    /// What each stream may take of the bandwidth, in bytes a second; 0 is without limit.
    private struct Speeds: Hashable {
        var mirror: Int64
        var memory: Int64
    }

    /// - Parameter adopted: an earlier agent began it.
    init(_ record: OutgoingRecord, of guest: Guest, process: GuestProcess?, disks: [String], adopted: Bool) {
        self.key = record.key
        self.server = guest.server
        self.host = guest.host
        self.ledger = guest.ledger
        self.process = process
        self.disks = disks
        self.isInherited = adopted
        self.timeline = record.timeline
        self.events = record.events
        var logger = guest.logger
        logger[metadataKey: "migration"] = "\(record.key.migration)/\(record.key.attempt)"
        self.logger = logger
        self.watched = Watched(
            OutgoingReport(
                epoch: record.epoch, key: record.key, phase: record.phase, version: Timestamp.microseconds, progress: record.progress,
                reason: record.reason, blackout: record.blackout, events: record.events))
    }

    func start() {
        guard task == nil, !isStopped else { return }
        task = Task { await run() }
    }

    /// Stops driving; what QEMU does goes on.
    func stop() async {
        isStopped = true
        task?.cancel()
        await task?.value
        sockets = []
    }

    private var record: OutgoingRecord? {
        guard let outgoing = ledger.record.outgoing, outgoing.key == key else { return nil }
        return outgoing
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
            group.addTask { await self.keepWarm() }
            if isInherited { await inherit() }
            while !Task.isCancelled {
                let rings = bell.rings
                switch await turn() {
                case .done:
                    group.cancelAll()
                    sockets = []
                    return
                case .again: continue
                case .pause(let pause): await bell.wait(after: rings, until: .now.advanced(by: pause))
                }
            }
            group.cancelAll()
        }
    }

    private enum Turn {
        case again
        case pause(Duration)
        case done
    }

    private func turn() async -> Turn {
        guard let record else { return .done }
        do {
            let sight = try await look(record)
            let step = OutgoingMachine.next(record, sight)
            if sight.memory != .preSwitchover { isInherited = false }
            let turn = try await take(step, record)
            troubles = 0
            return turn
        } catch is CancellationError {
            return .done
        } catch {
            return await overcome(error, record)
        }
    }

    /// A step failed. The way forward is given up; on the way back it is tried again.
    private func overcome(_ error: any Error, _ record: OutgoingRecord) async -> Turn {
        logger.warning("a step of the migration failed", metadata: ["problem": "\(error)"])
        troubles += 1
        let pause = Turn.pause(.milliseconds(min(1000, 20 << min(troubles, 6))))
        guard process?.isAlive == true, record.phase != .handedOver else { return pause }
        if let error = error as? QMPError, error.code == .deadline {
            // QEMU hangs on a connection that does: tear it, past its main loop.
            await yank(memory: true)
        }
        guard record.unwinding == nil else { return pause }
        if let error = error as? QMPError, error.code == .connectionClosed { return pause }
        let reason = (error as? AgentProblem)?.reason ?? Reason(.qemuError, "\(error)")
        do {
            try await turnBack(.init(phase: .failed, reason: reason))
            return .again
        } catch {
            logger.error("the record cannot be written", metadata: ["problem": "\(error)"])
            return pause
        }
    }

    private func note(_ event: QMPEvent) {
        let time = event.timestamp ?? Timestamp.microseconds
        switch event.name {
        case "STOP":
            timeline.stopped = time
            show(.switching)
        case "RESUME": timeline = SwitchTimeline()
        case "MIGRATION":
            switch event.data["status"]?.string {
            case "pre-switchover": timeline.preSwitchover = time
            case "completed": timeline.completed = time
            default: break
            }
        case "BLOCK_JOB_ERROR":
            if let job = event.data["device"]?.string, let disk = disks.first(where: { jobID($0) == job }), jobErrors[disk] == nil {
                let isRead = event.data["operation"]?.string == "read"
                jobErrors[disk] = Reason(
                    isRead ? .diskError : .connectionLost,
                    isRead
                        ? "disk \(disk) could not be read on the source"
                        : "disk \(disk) could not be written on the target, or the connection broke")
            }
        default: break
        }
        bell.ring()
    }

    // MARK: Looking

    private func node(_ disk: String) -> String { "to-\(fingerprint(key.migration.value).prefix(8))-\(key.attempt)-\(disk)" }
    private func jobID(_ disk: String) -> String { "mirror-\(fingerprint(key.migration.value).prefix(8))-\(key.attempt)-\(disk)" }
    private var memoryName: String { "memory-\(fingerprint(key.migration.value).prefix(8))-\(key.attempt)" }

    private func look(_ record: OutgoingRecord) async throws -> OutgoingMachine.Sight {
        var sight = OutgoingMachine.Sight(
            isAlive: false, isRunning: false, memory: .none, mirrors: [:], window: nil, isInherited: isInherited)
        guard record.phase != .handedOver, !record.isOver, let process, process.isAlive else {
            if process?.isAlive != true { sockets = [] }
            return sight
        }
        sight.isAlive = true
        let monitor = process.monitor
        async let asked = monitor.queryMigrate(deadline: .seconds(5))
        async let listed = monitor.queryBlockJobs(deadline: .seconds(5))
        let (migration, jobs) = (try await asked, try await listed)
        sight.memory = memory(migration)
        if record.unwinding != nil { sight.isRunning = try await monitor.queryStatus().running }
        for disk in disks {
            let job = jobs.first { $0.device == jobID(disk) }
            sight.mirrors[disk] = job.map { mirror($0, disk) } ?? (attached.contains(disk) ? .idle : .absent)
        }
        if sight.memory == .preSwitchover {
            let opened = windowOpened ?? .now
            windowOpened = opened
            sight.window = opened.duration(to: .now)
        } else {
            windowOpened = nil
        }
        if migration.status != nil || !jobs.isEmpty {
            measure(migration, jobs.filter { job in disks.contains { jobID($0) == job.device } })
        }
        if sight.memory == .moving, record.unwinding == nil { try await steer(migration, record) }
        return sight
    }

    private func memory(_ migration: MigrationInfo) -> OutgoingMachine.Memory {
        switch migration.status {
        case nil, "none": .none
        case "pre-switchover": .preSwitchover
        case "device": .device
        case "completed": .completed
        case "cancelling": .cancelling
        case "cancelled": .cancelled
        case "failed": .failed(migration.errorDesc ?? "QEMU gives no reason")
        default: .moving
        }
    }

    private func mirror(_ job: BlockJobInfo, _ disk: String) -> OutgoingMachine.Mirror {
        if job.status == "concluded" || job.status == "aborting" {
            guard let error = job.error else { return job.status == "concluded" ? .ended : .copying }
            let known = jobErrors[disk] ?? Reason(.connectionLost, "the mirror of disk \(disk) broke")
            let code: Reason.Code = error.contains("No space left") ? .diskFull : known.code
            return .broken(Reason(code, "\(known.message) (\(error))"))
        }
        return job.ready && job.status == "ready" ? .ready : .copying
    }

    /// Raises the downtime limit and applies the bandwidth while memory is on its way.
    private func steer(_ migration: MigrationInfo, _ record: OutgoingRecord) async throws {
        guard let process, let leave = record.leave else { return }
        var ladder = self.ladder ?? DowntimeLadder(highest: leave.downtimeLimitMS)
        if let ram = migration.ram, let limit = ladder.began(pass: Int64(ram.dirtySyncCount), remaining: Int64(ram.remaining)) {
            try await process.monitor.migrateSetParameters(["downtime-limit": JSONValue(limit)])
            tell(
                "downtime limit raised to \(limit) ms in round \(ram.dirtySyncCount): \(ram.remaining >> 10) KiB were left, no less than the round before"
            )
        }
        self.ladder = ladder
        if let throttle = migration.cpuThrottlePercentage, throttle > 0, watched.value.progress.throttle == 0 {
            tell("the guest is throttled, by \(throttle) % at first")
        }
        try await applyBandwidth(record, isSendingMemory: true)
    }

    private func tell(_ event: String) {
        events.append(event)
        logger.info("\(event)")
        let all = events
        watched.change {
            $0.events = all
            $0.version = max($0.version + 1, Timestamp.microseconds)
        }
    }

    /// One budget for all streams: while memory flows it has four fifths, and the mirrors, then nearly idle, share the rest.
    private func applyBandwidth(_ record: OutgoingRecord, isSendingMemory: Bool) async throws {
        let next = bandwidth(record, isSendingMemory: isSendingMemory)
        guard let process, next != speeds else { return }
        speeds = next
        for disk in disks where attached.contains(disk) {
            try await process.monitor.blockJobSetSpeed(jobID(disk), speed: Int(next.mirror))
        }
        if isSendingMemory { try await process.monitor.migrateSetParameters(["max-bandwidth": JSONValue(next.memory)]) }
    }

    private func bandwidth(_ record: OutgoingRecord, isSendingMemory: Bool) -> Speeds {
        guard let budget = record.bandwidth, budget > 0 else { return Speeds(mirror: 0, memory: 0) }
        let forMirrors = disks.isEmpty ? 0 : isSendingMemory ? budget / 5 : budget
        return Speeds(mirror: max(1, forMirrors / Int64(max(1, disks.count))), memory: max(1, budget - (isSendingMemory ? forMirrors : 0)))
    }

    private func measure(_ migration: MigrationInfo, _ jobs: [BlockJobInfo]) {
        let progress = meter.read(migration, jobs, before: watched.value.progress)
        let now = ContinuousClock.now
        if let published, published.duration(to: now) < .milliseconds(250) { return }
        guard progress != watched.value.progress else { return }
        published = now
        watched.change {
            $0.progress = progress
            $0.version = max($0.version + 1, Timestamp.microseconds)
        }
    }

    /// Shows a phase at once.
    private func show(_ phase: OutgoingReport.Phase, _ body: (inout OutgoingReport) -> Void = { _ in }) {
        let shown = watched.value.phase
        if phase == .switching, shown != .memory { return }
        watched.change {
            $0.phase = phase
            body(&$0)
            $0.version = max($0.version + 1, Timestamp.microseconds)
        }
    }

    // MARK: Doing

    private func take(_ step: OutgoingMachine.Step, _ record: OutgoingRecord) async throws -> Turn {
        switch step {
        case .done: return .done
        case .deliver: return try await deliver(record)
        case .finish(let phase, let reason):
            try await finish(phase, reason)
            return .done
        default: break
        }
        guard let process else { return .pause(.seconds(1)) }
        let monitor = process.monitor
        switch step {
        case .wait:
            if record.phase == .mirroring { try await applyBandwidth(record, isSendingMemory: false) }
            return .pause(.milliseconds(100))
        case .startMirrors(let disks):
            for disk in disks { try await startMirror(disk, record, process) }
        case .noteMirrored:
            try await change { $0.phase = .mirrored }
            show(.mirrored)
        case .startMemory: try await startMemory(record, process)
        case .noteMemory:
            try await change { $0.phase = .memory }
            show(.memory)
        case .drain(let disks):
            show(.switching)
            for socket in sockets { socket.setTimeout(StreamSocket.switchTimeout) }
            let fresh = disks.filter { !draining.contains($0) }
            guard !fresh.isEmpty else { return .pause(.milliseconds(20)) }
            for disk in fresh {
                if record.bandwidth != nil { try await monitor.blockJobSetSpeed(jobID(disk), speed: 0, deadline: OutgoingMachine.window) }
                try await monitor.blockJobCancel(jobID(disk), deadline: OutgoingMachine.window)
                draining.insert(disk)
            }
        case .clear(let disks):
            for disk in disks { try await removeMirror(disk, monitor) }
        case .proceed:
            show(.switching)
            guard self.record?.unwinding == nil else { return .again }
            timeline.continued = Timestamp.microseconds
            try await monitor.migrateContinue()
            return .pause(.milliseconds(20))
        case .handOver: try await handOver()
        case .turnBack(let unwinding): try await turnBack(unwinding)
        case .cancelMemory:
            await yank(memory: false)
            try await monitor.migrateCancel()
            return .pause(.milliseconds(20))
        case .removeMirrors:
            try await removeMirrors(monitor)
            return .pause(.milliseconds(10))
        case .resume:
            try await monitor.cont()
            return .pause(.milliseconds(10))
        case .done, .deliver, .finish: break
        }
        return .again
    }

    private func change(_ body: @escaping @Sendable (inout OutgoingRecord) -> Void) async throws {
        let key = key
        try await ledger.change { record in
            guard var outgoing = record.outgoing, outgoing.key == key, !outgoing.isOver else { throw CancellationError() }
            body(&outgoing)
            record.outgoing = outgoing
        }
    }

    private func startMirror(_ disk: String, _ record: OutgoingRecord, _ process: GuestProcess) async throws {
        let monitor = process.monitor
        if attached.contains(disk) {
            try await monitor.blockdevDel(node(disk))
            attached.remove(disk)
        }
        let socket = try await StreamSocket.connect(record.target.address, port: record.target.nbdPort, deadline: .seconds(5))
        try await monitor.sendDescriptor(socket.descriptor, name: node(disk))
        do {
            try await monitor.blockdevAdd([
                "driver": "nbd", "node-name": .string(node(disk)), "server": ["type": "fd", "str": .string(node(disk))],
                "export": .string(disk),
                "reconnect-delay": 0, "detect-zeroes": "unmap", "discard": "unmap",
            ])
        } catch let error as QMPError {
            try await forgetDescriptor(node(disk), monitor)
            throw AgentProblem(.failed, .connectionLost, "the target's disk \(disk) cannot be opened: \(error)")
        }
        attached.insert(disk)
        sockets.append(socket)
        // Top: the target's image is new and empty, made by its agent for this attempt. The ended job stays, with its error, until it was seen.
        let speeds = bandwidth(record, isSendingMemory: false)
        try await monitor.blockdevMirror(
            jobID: jobID(disk), device: disk, target: node(disk), sync: .top, speed: speeds.mirror > 0 ? Int(speeds.mirror) : nil,
            autoDismiss: false)
        self.speeds = speeds
    }

    /// A descriptor that no command took is closed; that there is none is as good.
    private func forgetDescriptor(_ name: String, _ monitor: QMPClient) async throws {
        do { try await monitor.closeDescriptor(name) } catch let error as QMPError where error.code == .command {}
    }

    private static let capabilities = ["events", "pause-before-switchover", "return-path", "late-block-activate", "auto-converge"]

    private func startMemory(_ record: OutgoingRecord, _ process: GuestProcess) async throws {
        guard let leave = record.leave else { return }
        let monitor = process.monitor
        let known = try await monitor.migrateCapabilityNames()
        guard known.contains("pause-before-switchover"), known.contains("late-block-activate") else {
            throw AgentProblem(
                .failed, .incompatibleQEMU,
                "QEMU \(monitor.version) cannot pause before the switchover: a newer one is needed for live migration")
        }
        try await monitor.migrateSetCapabilities(
            Dictionary(uniqueKeysWithValues: Self.capabilities.filter(known.contains).map { ($0, true) }))
        let ladder = DowntimeLadder(highest: leave.downtimeLimitMS)
        self.ladder = ladder
        let speeds = bandwidth(record, isSendingMemory: true)
        try await monitor.migrateSetParameters(["downtime-limit": JSONValue(ladder.limit), "max-bandwidth": JSONValue(speeds.memory)])
        let socket = try await StreamSocket.connect(record.target.address, port: record.target.memoryPort, deadline: .seconds(5))
        try await socket.send(StreamSocket.preamble(key))
        try await monitor.sendDescriptor(socket.descriptor, name: memoryName)
        sockets.append(socket)
        do {
            try await monitor.migrate(uri: "fd:" + memoryName)
        } catch {
            try await forgetDescriptor(memoryName, monitor)
            throw error
        }
        tell("downtime limit set to \(ladder.limit) ms")
    }

    private func handOver() async throws {
        let (timeline, progress, events) = (timeline, watched.value.progress, events)
        let key = key
        try await ledger.change { record in
            guard var outgoing = record.outgoing, outgoing.key == key, outgoing.unwinding == nil, !outgoing.isOver else { return }
            outgoing.phase = .handedOver
            outgoing.timeline = timeline
            outgoing.progress = progress
            outgoing.events = events
            record.outgoing = outgoing
            record.tenure = .handedOver
        }
        guard self.record?.phase == .handedOver else { return }
        show(.handedOver)
        sockets = []
    }

    private func deliver(_ record: OutgoingRecord) async throws -> Turn {
        guard let leave = record.leave else { return .pause(.seconds(60)) }
        if ContinuousClock.now < delivery.notBefore { return .pause(delivery.notBefore - .now) }
        do {
            let answer = try await host.peers.agent(at: leave.targetAgentURL).handOver(
                server, HandoverOrder(epoch: record.epoch, key: key, source: host.configuration.name))
            guard answer.phase == .running, let resumeUS = answer.resumeUS else {
                throw AgentProblem(.conflict, .agentError, "the target answered the handover with phase \(answer.phase.rawValue)")
            }
            let blackout = record.timeline.blackout(answered: Timestamp.microseconds, resumeUS: resumeUS)
            try await change {
                $0.phase = .confirmed
                $0.blackout = blackout
                $0.reason = nil
            }
            show(.confirmed) {
                $0.blackout = blackout
                $0.reason = nil
            }
            return .done
        } catch let problem as AgentProblem {
            delivery.tries += 1
            delivery.notBefore = .now.advanced(by: .milliseconds(min(2000, 20 << min(delivery.tries, 7))))
            if watched.value.reason != problem.reason {
                logger.warning("the handover is not taken", metadata: ["problem": .stringConvertible(problem)])
                show(.handedOver) { $0.reason = problem.reason }
            }
            return .again
        }
    }

    /// While memory flows the connection to the target's agent is used now and then: in the blackout there is no time for a handshake.
    private func keepWarm() async {
        while !Task.isCancelled {
            let rings = bell.rings
            if let record, record.phase == .memory, let leave = record.leave, record.unwinding == nil {
                do {
                    _ = try await host.peers.agent(at: leave.targetAgentURL).incoming(server, key, seen: 0, waitMS: 0)
                } catch is CancellationError {
                    return
                } catch {
                    logger.info("the target's agent does not answer", metadata: ["problem": "\(error)"])
                }
                do { try await Task.sleep(for: .seconds(5)) } catch { return }
            } else {
                await bell.wait(after: rings, until: .now.advanced(by: .seconds(60)))
            }
        }
    }

    // MARK: The way back

    private func turnBack(_ unwinding: OutgoingRecord.Unwinding) async throws {
        if let reason = unwinding.reason { logger.warning("the migration is given up", metadata: ["reason": .stringConvertible(reason)]) }
        // Before the record: a guest that waits for a dead target must not wait for the disk too.
        await yank(memory: false)
        try await change { if $0.unwinding == nil { $0.unwinding = unwinding } }
    }

    /// Tears our connections in QEMU at once, past whatever its main loop waits for.
    func yank(memory: Bool) async {
        guard let process, process.isAlive else { return }
        let nodes = Set(disks.map(node))
        do {
            let all = try await process.rescue.executeOutOfBand("query-yank", deadline: .seconds(2))
            let ours = (all.array ?? []).filter { instance in
                switch instance["type"]?.string {
                case "block-node": instance["node-name"]?.string.map(nodes.contains) ?? false
                case "migration": memory
                default: false
                }
            }
            guard !ours.isEmpty else { return }
            try await process.rescue.executeOutOfBand("yank", ["instances": .array(ours)], deadline: .seconds(2))
        } catch {
            logger.warning("connections cannot be torn", metadata: ["problem": "\(error)"])
        }
    }

    private func removeMirrors(_ monitor: QMPClient) async throws {
        await yank(memory: false)
        let jobs = try await monitor.queryBlockJobs()
        for disk in disks {
            guard let job = jobs.first(where: { $0.device == jobID(disk) }) else {
                if attached.contains(disk) { try await removeMirror(disk, monitor) }
                continue
            }
            if job.status == "concluded" {
                try await removeMirror(disk, monitor)
            } else {
                do {
                    try await monitor.blockJobCancel(jobID(disk), force: true)
                } catch let error as QMPError where error.code == .command {
                    // It is ending already.
                }
            }
        }
    }

    private func removeMirror(_ disk: String, _ monitor: QMPClient) async throws {
        do {
            try await monitor.jobDismiss(jobID(disk))
        } catch let error as QMPError where error.code == .command {
            // There is no job, only its node.
        }
        try await monitor.blockdevDel(node(disk))
        attached.remove(disk)
    }

    private func finish(_ phase: OutgoingReport.Phase, _ reason: Reason?) async throws {
        let (progress, events) = (watched.value.progress, events)
        try await change {
            $0.phase = phase
            $0.reason = reason
            $0.unwinding = nil
            $0.progress = progress
            $0.events = events
        }
        show(phase) { $0.reason = reason }
        sockets = []
    }

    /// Takes stock of what an earlier agent left in QEMU.
    private func inherit() async {
        guard let process, process.isAlive, let record, record.phase != .handedOver, !record.isOver else { return }
        do {
            let nodes = Set(try await process.monitor.queryNamedBlockNodes().compactMap(\.nodeName))
            attached = Set(disks.filter { nodes.contains(node($0)) })
            for name in disks.map(node) + [memoryName] { try await forgetDescriptor(name, process.monitor) }
        } catch {
            logger.warning("what an earlier agent left cannot be listed", metadata: ["problem": "\(error)"])
        }
    }
}
