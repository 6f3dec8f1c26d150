import ArgumentParser
import Fleet
import Store

/// Claims of one migration at a time out of a few that are due, beside however many are finished.
struct Claims: AsyncParsableCommand {
    static let configuration = CommandConfiguration(abstract: "What a claim costs.")

    @OptionGroup var place: Place
    @Option(help: "How many claims.") var times = 200

    func run() async throws {
        try await place.with { store in
            let servers = try await store.servers(ServerFilter(status: .running)).prefix(times)
            try await inParallel(servers, width: 16) { server in
                _ = try await store.submitMigration(
                    server: server.id, mode: .live, options: MigrationOptions(), maxAttempts: 3, actor: "bench")
            }
            var milliseconds: [Double] = []
            for _ in 0..<servers.count {
                let begun = ContinuousClock.now
                guard try await store.claimMigrations(worker: "bench", leaseMS: 3_600_000, limit: 1).count == 1 else {
                    throw BenchFailure("nothing was due")
                }
                milliseconds.append((ContinuousClock.now - begun).seconds * 1000)
            }
            var idle: [Double] = []
            for _ in 0..<times {
                let begun = ContinuousClock.now
                guard try await store.claimMigrations(worker: "bench", leaseMS: 3_600_000, limit: 1).isEmpty else {
                    throw BenchFailure("more was due than submitted")
                }
                idle.append((ContinuousClock.now - begun).seconds * 1000)
            }
            milliseconds.sort()
            idle.sort()
            tell([
                "p50": milliseconds.percentile(50) ?? 0, "p99": milliseconds.percentile(99) ?? 0, "idleP50": idle.percentile(50) ?? 0,
                "idleP99": idle.percentile(99) ?? 0,
            ])
        }
    }
}
