import AgentAPI
import Fleet
import Foundation
import Hypervisor
import Logging
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

    func memory(_ migration: MigrationInfo) -> OutgoingMachine.Memory {
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

    func mirror(_ job: BlockJobInfo, _ disk: String) -> OutgoingMachine.Mirror {
        if job.status == "concluded" || job.status == "aborting" {
            guard let error = job.error else { return job.status == "concluded" ? .ended : .copying }
            let known = jobErrors[disk] ?? Reason(.connectionLost, "the mirror of disk \(disk) broke")
            let code: Reason.Code = error.contains("No space left") ? .diskFull : known.code
            return .broken(Reason(code, "\(known.message) (\(error))"))
        }
        return job.ready && job.status == "ready" ? .ready : .copying
    }

    /// Raises the downtime limit and applies the bandwidth while memory is on its way.
    func steer(_ migration: MigrationInfo, _ record: OutgoingRecord) async throws {
        guard let process, let leave = record.leave else { return }
        var ladder = self.ladder ?? DowntimeLadder(highest: leave.downtimeLimitMS)
        if let ram = migration.ram, let limit = ladder.began(pass: Int64(ram.dirtySyncCount), remaining: Int64(ram.remaining)) {
            try await process.monitor.migrateSetParameters(["downtime-limit": JSONValue(limit)])
            tell(
                "downtime limit raised to \(limit) ms in round \(ram.dirtySyncCount): \(ram.remaining >> 10) KiB were left, no less than the round before"
            )
        }
        self.ladder = ladder
        if let throttle = migration.cpuThrottlePercentage, throttle > 0, latest.throttle == 0 {
            tell("the guest is throttled, by \(throttle) % at first")
        }
        try await applyBandwidth(record, isSendingMemory: true)
    }

    func tell(_ event: String) {
        events.append(event)
        logger.info("\(event)")
        let all = events
        watched.change {
            $0.events = all
            $0.version = max($0.version + 1, Timestamp.microseconds)
        }
    }

    /// One budget for all streams: while memory flows it has four fifths, and the mirrors, then nearly idle, share the rest.
    func applyBandwidth(_ record: OutgoingRecord, isSendingMemory: Bool) async throws {
        let next = bandwidth(record, isSendingMemory: isSendingMemory)
        guard let process, next != speeds else { return }
        speeds = next
        for disk in disks where attached.contains(disk) {
            try await process.monitor.blockJobSetSpeed(jobID(disk), speed: Int(next.mirror))
        }
        if isSendingMemory { try await process.monitor.migrateSetParameters(["max-bandwidth": JSONValue(next.memory)]) }
    }

    func bandwidth(_ record: OutgoingRecord, isSendingMemory: Bool) -> Speeds {
        guard let budget = record.bandwidth, budget > 0 else { return Speeds(mirror: 0, memory: 0) }
        let forMirrors = disks.isEmpty ? 0 : isSendingMemory ? budget / 5 : budget
        return Speeds(mirror: max(1, forMirrors / Int64(max(1, disks.count))), memory: max(1, budget - (isSendingMemory ? forMirrors : 0)))
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
