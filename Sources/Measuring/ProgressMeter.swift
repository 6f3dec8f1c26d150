package import Fleet
import Hypervisor
package import QMP

/// Makes figures for people out of QEMU's.
package struct ProgressMeter {
    /// What was done when, over the last seconds: QEMU copies in bursts, and a rate between two looks would jump.
    private var samples: [(time: ContinuousClock.Instant, diskDone: Int64)] = []
    private static let span = Duration.seconds(3)
    /// Each mirror as it was seen last: one that ended, or is forgotten before the others are, takes nothing back of what was done.
    private var mirrors: [String: (total: Int64, done: Int64)] = [:]

    package init() {}

    package mutating func read(_ migration: MigrationInfo, _ jobs: [BlockJobInfo], before: Fleet.Progress) -> Fleet.Progress {
        var progress = before
        var diskRate: Int64 = 0
        if !jobs.isEmpty {
            for job in jobs { mirrors[job.device] = (Int64(job.len), max(Int64(job.offset), mirrors[job.device]?.done ?? 0)) }
            progress.diskTotal = max(before.diskTotal, mirrors.values.reduce(0) { $0 + $1.total })
            progress.diskDone = max(before.diskDone, mirrors.values.reduce(0) { $0 + $1.done })
            let now = ContinuousClock.now
            samples.append((now, progress.diskDone))
            samples.removeAll { $0.time.duration(to: now) > Self.span }
            if let first = samples.first, case let milliseconds = first.time.duration(to: now).inMilliseconds, milliseconds > 0 {
                diskRate = max(0, progress.diskDone - first.diskDone) * 1000 / milliseconds
            }
        }
        let disksLeft = max(0, progress.diskTotal - progress.diskDone)
        progress.rate = diskRate
        progress.etaMS = diskRate > 0 ? disksLeft * 1000 / diskRate : nil
        if let ram = migration.ram {
            progress.memoryTotal = Int64(ram.total)
            progress.memoryRemaining = Int64(ram.remaining)
            progress.memoryTransferred = max(before.memoryTransferred, Int64(ram.transferred))
            progress.dirtyRate = Int64(ram.dirtyPagesRate) * Int64(ram.pageSize)
            progress.round = Int64(ram.dirtySyncCount)
            progress.throttle = Int64(migration.cpuThrottlePercentage ?? 0)
            progress.rate = Int64(ram.mbps * 125_000)
            let gain = progress.rate - progress.dirtyRate
            progress.etaMS = gain > 0 ? progress.memoryRemaining * 1000 / gain : nil
        }
        return progress
    }
}
