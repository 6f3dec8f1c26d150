import AgentAPI
import Attempts
import Convergence
import Fleet
import Foundation
import Glibc
import Hypervisor
import Logging
import Measuring
import QMP

/// The source's end of an attempt: carries out what ``OutgoingMachine`` decides.
actor Outgoing {
    nonisolated let key: AttemptKey
    nonisolated let bell = Bell()
    nonisolated let watched: Watched<OutgoingReport>
    let server: ServerID
    let host: HostContext
    let ledger: Ledger
    let process: GuestProcess?
    let disks: [String]
    let logger: Logger
    var task: Task<Void, Never>?
    var isStopped = false

    /// Disks whose NBD node is attached, as far as we know without asking.
    var attached: Set<String> = []
    var isInherited: Bool
    var draining: Set<String> = []
    var windowOpened: ContinuousClock.Instant?
    var deviceSince: ContinuousClock.Instant?
    var timeline: SwitchTimeline
    var jobErrors: [String: Reason] = [:]
    /// Nil until memory begins.
    var policy: ConvergencePolicy?
    var verdict: OutgoingMachine.Verdict?
    var budget = BandwidthBudget()
    /// The mirrors at the last look, those that can be told a speed.
    var mirrors: [BandwidthBudget.Mirror] = []
    /// Our copies of what QEMU sends through: by them timeouts can be set. While they are open the peer does not learn that QEMU died, so
    /// they go as soon as it does.
    var sockets: [StreamSocket] = []
    var events: [PolicyEvent]
    var meter = ProgressMeter()
    var latest: Fleet.Progress
    var published: ContinuousClock.Instant?
    var troubles = 0
    var hasCredentials = false
    var isPostCopyOrdered = false
    /// `migrate-continue` was taken.
    var hasContinued = false
    /// As QEMU was told last, in bytes a second; 0 is unlimited.
    var postCopyBandwidth: Int64?
    var hasArrived = false
    var isTargetLost = false
    var delivery = Delivery()

    struct Delivery {
        var tries = 0
        var notBefore = ContinuousClock.now
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
        self.policy = record.convergence
        self.latest = record.progress
        var logger = guest.logger
        logger[metadataKey: "migration"] = "\(record.key.migration)/\(record.key.attempt)"
        self.logger = logger
        self.watched = Watched(
            OutgoingReport(
                epoch: record.epoch, key: record.key, phase: record.phase, version: Timestamp.microseconds, progress: record.progress,
                reason: record.reason, blackout: record.blackout, events: record.events,
                postCopy: record.phase == .handedOver || record.phase == .confirmed ? PostCopy(record.postCopy) : nil))
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
        // Whoever waits on this report is to look anew.
        watched.change { $0.version = max($0.version + 1, Timestamp.microseconds) }
    }

    var record: OutgoingRecord? {
        guard let outgoing = ledger.record.outgoing, outgoing.key == key else { return nil }
        return outgoing
    }

    // MARK: The loop

    func run() async {
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

    enum Turn {
        case again
        case pause(Duration)
        case done
    }

    func turn() async -> Turn {
        guard let record else { return .done }
        do {
            let sight = try await look(record)
            let step = OutgoingMachine.next(record, sight)
            if sight.memory != .preSwitchover { isInherited = false }
            let turn = try await take(step, record, seen: sight.memory)
            troubles = 0
            return turn
        } catch is CancellationError {
            return .done
        } catch {
            return await overcome(error, record)
        }
    }

    /// A step failed. The way forward is given up; on the way back it is tried again.
    func overcome(_ error: any Error, _ record: OutgoingRecord) async -> Turn {
        logger.warning("a step of the migration failed", metadata: ["problem": "\(error)"])
        troubles += 1
        let pause = Turn.pause(.milliseconds(min(1000, 20 << min(troubles, 6))))
        // Post-copy can only be waited for: tearing its connection could leave the guest with neither.
        guard process?.isAlive == true, record.phase != .handedOver, record.postCopy != .begun else { return pause }
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

    func note(_ event: QMPEvent) {
        let time = event.timestamp ?? Timestamp.microseconds
        switch event.name {
        // Not yet the switchover: a full disk stops the guest too.
        case "STOP": timeline.stopped = time
        case "RESUME": timeline = SwitchTimeline()
        case "MIGRATION":
            switch event.data["status"]?.string {
            case "pre-switchover":
                timeline.preSwitchover = time
                show(.switching)
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
}
