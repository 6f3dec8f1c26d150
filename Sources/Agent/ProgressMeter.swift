import Fleet
import Foundation
import QMP

extension Timestamp {
    /// Now, in microseconds since 1970, on the clock that QEMU stamps its events with.
    static var microseconds: Int64 { Int64((Date().timeIntervalSince1970 * 1_000_000).rounded(.down)) }
}

/// Makes figures for people out of QEMU's.
struct ProgressMeter {
    private var last: (time: ContinuousClock.Instant, diskDone: Int64)?
    private var diskRate: Int64 = 0

    mutating func read(_ migration: MigrationInfo, _ jobs: [BlockJobInfo], before: Fleet.Progress) -> Fleet.Progress {
        var progress = before
        if !jobs.isEmpty {
            progress.diskTotal = jobs.reduce(0) { $0 + Int64($1.len) }
            progress.diskDone = jobs.reduce(0) { $0 + Int64($1.offset) }
            let now = ContinuousClock.now
            if let last {
                let milliseconds = last.time.duration(to: now).inMilliseconds
                if milliseconds >= 200 {
                    let rate = max(0, progress.diskDone - last.diskDone) * 1000 / milliseconds
                    diskRate = (diskRate + rate) / 2
                    self.last = (now, progress.diskDone)
                }
            } else {
                last = (now, progress.diskDone)
            }
        }
        let disksLeft = max(0, progress.diskTotal - progress.diskDone)
        progress.rate = diskRate
        progress.etaMS = diskRate > 0 ? disksLeft * 1000 / diskRate : nil
        if let ram = migration.ram {
            progress.memoryTotal = Int64(ram.total)
            progress.memoryRemaining = Int64(ram.remaining)
            progress.memoryTransferred = Int64(ram.transferred)
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
