import ArgumentParser
import Fleet
import Foundation
import Store

/// Migrations that run and tell how far they are, each every two seconds, as workers write it down.
struct Running: AsyncParsableCommand {
    static let configuration = CommandConfiguration(abstract: "What the progress of many running migrations costs.")

    @OptionGroup var place: Place
    @Option(help: "How many run.") var migrations = 10_000
    @Option(help: "For so many seconds.") var seconds = 20
    @Option(help: "Milliseconds between two of one migration.") var everyMS = 2000
    @Option(help: "How many a worker holds, which writes of all of them at once.") var held = 1000

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
            let every = Duration.milliseconds(everyMS)
            let workers = stride(from: 0, to: claimed.count, by: held).map { Array(claimed[$0..<min($0 + held, claimed.count)]) }
            let written = try await withThrowingTaskGroup(of: Int.self) { group in
                for (number, migrations) in workers.enumerated() {
                    group.addTask {
                        var (count, next) = (0, begun + every * number / workers.count)
                        while next < end {
                            try await Task.sleep(until: next, clock: .continuous)
                            let progress = Self.progress(count)
                            let refused = try await store.recordProgress(
                                migrations.map { try ProgressReport($0.id, epoch: $0.epoch, progress) })
                            guard refused.isEmpty else { throw BenchFailure("\(refused.count) were refused") }
                            count += migrations.count
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

    private static func progress(_ step: Int) -> Fleet.Progress {
        var progress = Fleet.Progress()
        progress.diskDone = Int64(step) << 20
        return progress
    }

    /// Of this process.
    private static func cpuSeconds() -> Double {
        var usage = rusage()
        getrusage(__rusage_who_t(RUSAGE_SELF.rawValue), &usage)
        func seconds(_ time: timeval) -> Double { Double(time.tv_sec) + Double(time.tv_usec) * 1e-6 }
        return seconds(usage.ru_utime) + seconds(usage.ru_stime)
    }
}
