import ArgumentParser
import Fleet
import Foundation
import Store

/// Migrations that run and tell how far they are, each every two seconds, as workers tell it.
struct Running: AsyncParsableCommand {
    static let configuration = CommandConfiguration(abstract: "What the progress of many running migrations costs.")

    @OptionGroup var place: Place
    @Option(help: "How many run.") var migrations = 10_000
    @Option(help: "For so many seconds.") var seconds = 20
    @Option(help: "Milliseconds between two of one migration.") var everyMS = 2000

    func run() async throws {
        try await place.with { store in
            var claimed: [Migration] = []
            while claimed.count < migrations {
                let more = try await store.claimMigrations(worker: "bench", leaseMS: 3_600_000, limit: 500)
                guard !more.isEmpty else { throw BenchFailure("only \(claimed.count) are submitted") }
                claimed += more
            }
            let cpu = Self.cpuSeconds()
            let begun = ContinuousClock.now
            let end = begun + .seconds(seconds)
            let total = claimed.count
            let every = Duration.milliseconds(everyMS)
            let written = try await withThrowingTaskGroup(of: Int.self) { group in
                for (number, migration) in claimed.enumerated() {
                    group.addTask {
                        var (count, next) = (0, begun + every * number / total)
                        while next < end {
                            try await Task.sleep(until: next, clock: .continuous)
                            var progress = Progress()
                            progress.diskDone = Int64(count) << 20
                            try await store.recordProgress(migration.id, epoch: migration.epoch, progress)
                            count += 1
                            // One that comes late puts off its next.
                            next = max(next + every, .now)
                        }
                        return count
                    }
                }
                return try await group.reduce(0, +)
            }
            let wall = (ContinuousClock.now - begun).seconds
            tell([
                "writesPerSecond": Double(written) / wall, "cores": (Self.cpuSeconds() - cpu) / wall,
                "wanted": Double(claimed.count) * 1000 / Double(everyMS),
            ])
        }
    }

    /// Of this process.
    private static func cpuSeconds() -> Double {
        var usage = rusage()
        getrusage(__rusage_who_t(RUSAGE_SELF.rawValue), &usage)
        func seconds(_ time: timeval) -> Double { Double(time.tv_sec) + Double(time.tv_usec) * 1e-6 }
        return seconds(usage.ru_utime) + seconds(usage.ru_stime)
    }
}
