import AgentAPI
import Attempts
import Convergence
import Fleet
import Foundation
import Hypervisor
import Logging
import Measuring
import QMP

/// What QEMU answers, and what is shown of it.
extension Outgoing {
    func node(_ disk: String) -> String { "to-\(fingerprint(key.migration.value).prefix(8))-\(key.attempt)-\(disk)" }
    func jobID(_ disk: String) -> String { "mirror-\(fingerprint(key.migration.value).prefix(8))-\(key.attempt)-\(disk)" }
    var memoryName: String { "memory-\(fingerprint(key.migration.value).prefix(8))-\(key.attempt)" }

    func look(_ record: OutgoingRecord) async throws -> OutgoingMachine.Sight {
        var sight = OutgoingMachine.Sight(
            isAlive: false, isRunning: false, memory: .none, mirrors: [:], window: nil, isInherited: isInherited)
        guard record.phase != .handedOver, !record.isOver, let process, process.isAlive else {
            if process?.isAlive != true { sockets = [] }
            return sight
        }
        sight.isAlive = true
        (sight.hasArrived, sight.isTargetLost) = (hasArrived, isTargetLost)
        let monitor = process.monitor
        async let asked = monitor.queryMigrate(deadline: .seconds(5))
        async let listed = monitor.queryBlockJobs(deadline: .seconds(5))
        let (migration, jobs) = (try await asked, try await listed)
        sight.memory = memory(migration)
        if record.streams?.isEncrypted == true, case .failed(let text) = sight.memory {
            // What a peer that hangs up has not read yet fits into the sockets' buffers.
            let isFirst = (migration.ram?.transferred ?? 0) < 16 << 20
            sight.isPeerUnproven = isFirst ? StreamCredentials.isRefusalAtFirst(text) : StreamCredentials.isRefusal(text)
        }
        if record.unwinding != nil { sight.isRunning = try await monitor.queryStatus().running }
        for disk in disks {
            let job = jobs.first { $0.device == jobID(disk) }
            sight.mirrors[disk] = job.map { mirror($0, disk) } ?? (attached.contains(disk) ? .idle : .absent)
        }
        deviceSince = sight.memory == .device ? deviceSince ?? .now : nil
        sight.device = deviceSince?.duration(to: .now)
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
        mirrors = disks.compactMap { disk in
            jobs.first { $0.device == jobID(disk) && ["running", "ready"].contains($0.status) }.map { job in
                .init(disk: disk, done: Int64(job.offset), left: Int64(max(0, job.len - job.offset)))
            }
        }
        guard record.unwinding == nil else { return sight }
        switch sight.memory {
        case .moving:
            try await applyBandwidth(record, isSendingMemory: true)
            try await steer(migration, record)
            sight.verdict = verdict ?? (record.postCopy == .asked && !isPostCopyOrdered ? .startPostCopy : nil)
        // What QEMU says of a migration may be about an earlier one.
        case .none, .completed, .cancelled, .failed:
            if record.phase != .memory { try await applyBandwidth(record, isSendingMemory: false) }
        // The last writes go as fast as they can: the guest stands still.
        case .preSwitchover, .device, .cancelling: break
        case .postCopy: try await applyPostCopyBandwidth(record)
        case .interrupted, .rejoining: break
        }
        return sight
    }

    func memory(_ migration: MigrationInfo) -> OutgoingMachine.Memory {
        switch migration.status {
        case nil, "none": .none
        case "pre-switchover": .preSwitchover
        case "device": .device
        case "completed": .completed
        case "postcopy-active": .postCopy
        case "postcopy-paused": .interrupted
        case "postcopy-recover": .rejoining
        case "cancelling": .cancelling
        case "cancelled": .cancelled
        case "failed": .failed(migration.errorDesc ?? "QEMU gives no reason")
        default: .moving
        }
    }

    func mirror(_ job: BlockJobInfo, _ disk: String) -> OutgoingMachine.Mirror {
        if job.status == "concluded" || job.status == "aborting" {
            guard let error = job.error else { return job.status == "concluded" ? .ended : .copying }
            if error.contains("No space left") {
                let storage = ledger.record.description?.disks.first { $0.name == disk }?.storage ?? ""
                return .broken(Reason(.diskFull, "disk \(disk) could not be written on the target: storage \(storage) is full there"))
            }
            let known = jobErrors[disk] ?? Reason(.connectionLost, "the mirror of disk \(disk) broke")
            return .broken(Reason(known.code, "\(known.message) (\(error))"))
        }
        return job.ready && job.status == "ready" ? .ready : .copying
    }

    /// Carries out what the policy of convergence says about memory on its way.
    func steer(_ migration: MigrationInfo, _ record: OutgoingRecord) async throws {
        guard let process, let leave = record.leave else { return }
        var policy = self.policy ?? ConvergencePolicy(leave.rules)
        var actions = policy.rules == leave.rules ? [] : policy.change(leave.rules)
        if let ram = migration.ram {
            actions += policy.observe(
                .init(
                    pass: Int64(ram.dirtySyncCount), remaining: Int64(ram.remaining),
                    dirtyRate: Int64(ram.dirtyPagesRate) * Int64(ram.pageSize), rate: Int64(ram.mbps * 125_000),
                    throttle: Int64(migration.cpuThrottlePercentage ?? 0), expectedDowntimeMS: migration.expectedDowntime.map(Int64.init),
                    atMS: Timestamp.uptimeMS))
        }
        for action in actions {
            switch action {
            case .setDowntimeLimit(let limit): try await process.monitor.migrateSetParameters(["downtime-limit": JSONValue(limit)])
            case .tell(let event): tell(event)
            case .startPostCopy: verdict = .startPostCopy
            case .giveUp(let reason): verdict = .giveUp(reason)
            }
        }
        self.policy = policy
        if !actions.isEmpty { try await keep(policy) }
    }

    /// Writes down how far the policy is, so that an agent that comes after this one goes on from there.
    func keep(_ policy: ConvergencePolicy) async throws {
        let events = events
        let isPostCopy = verdict == .startPostCopy
        try await change {
            $0.convergence = policy
            $0.events = events
            if isPostCopy, $0.postCopy == nil { $0.postCopy = .asked }
        }
    }

    func tell(_ event: PolicyEvent) {
        events.append(event)
        logger.info("\(event.reason.message)")
        let all = events
        watched.change {
            $0.events = all
            $0.version = max($0.version + 1, Timestamp.microseconds)
        }
    }

    /// Has every stream keep to its part of the bandwidth.
    func applyBandwidth(_ record: OutgoingRecord, isSendingMemory: Bool) async throws {
        guard let process,
            let split = budget.look(
                budget: record.bandwidth, mirrors: mirrors, isSendingMemory: isSendingMemory, atMS: Timestamp.uptimeMS)
        else { return }
        for (disk, speed) in split.mirrors {
            do {
                try await process.monitor.blockJobSetSpeed(jobID(disk), speed: Int(speed))
            } catch let error as QMPError where error.code == .command {
                // It ended meanwhile, which the next look finds.
            }
        }
        if isSendingMemory { try await process.monitor.migrateSetParameters(["max-bandwidth": JSONValue(split.memory)]) }
    }

    func measure(_ migration: MigrationInfo, _ jobs: [BlockJobInfo]) {
        let progress = meter.read(migration, jobs, before: latest)
        latest = progress
        let now = ContinuousClock.now
        if let published, published.duration(to: now) < .milliseconds(250) { return }
        guard progress != watched.value.progress else { return }
        published = now
        watched.change {
            $0.progress = progress
            $0.version = max($0.version + 1, Timestamp.microseconds)
        }
    }

    /// Shows a phase at once, with the figures of the last look.
    func show(_ phase: OutgoingReport.Phase, _ body: (inout OutgoingReport) -> Void = { _ in }) {
        let shown = watched.value.phase
        if phase == .switching, shown != .memory { return }
        watched.change {
            $0.phase = phase
            $0.progress = latest
            body(&$0)
            $0.version = max($0.version + 1, Timestamp.microseconds)
        }
    }
}
