import ArgumentParser
import Fleet
import SQL
import Store

/// Takes migrations from the claim to `ready`, each transition a durable write of its own, as workers do.
struct Life: AsyncParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Lives of migrations: a claim and five transitions each.")

    @OptionGroup var place: Place
    @Option(help: "How many lives.") var lives = 1000
    @Option(help: "How many at once.") var inFlight = 1

    func run() async throws {
        try await place.with { store in
            let hosts = try await store.hosts().map(\.id)
            let begun = ContinuousClock.now
            try await inParallel(0..<lives, width: inFlight) { number in
                try await store.live(worker: "bench-\(number % inFlight)", hosts: hosts)
            }
            let seconds = (ContinuousClock.now - begun).seconds
            tell(["seconds": seconds, "perSecond": Double(lives) / seconds])
        }
    }
}

extension Store {
    /// One life of whatever is due.
    func live(worker: String, hosts: [HostID]) async throws {
        guard let claimed = try await claimMigrations(worker: worker, leaseMS: 60_000, limit: 1).first else {
            throw BenchFailure("nothing was due")
        }
        guard let place = hosts.firstIndex(of: claimed.source) else { throw BenchFailure("a migration leaves an unknown host") }
        let target = hosts[(place + 1) % hosts.count]
        var migration = claimed
        for state in [MigrationState.scheduling, .syncingDisk, .syncingMemory, .switching, .ready] {
            var change = MigrationChange(migration)
            change.migration.state = state
            change.history = .init(from: migration.state, actor: worker)
            switch state {
            case .scheduling:
                change.migration.attempt = 1
            case .syncingDisk:
                change.migration.target = target
                change.reserve = Reservation(
                    migration: migration.id, host: target, vcpus: 1, memoryBytes: 128 * Self.mebibyte,
                    storageBytes: ["local": 10_737_418_240])
            case .ready:
                change.placement = target
                change.serverStatus = .running
            case .pending, .syncingMemory, .switching, .failed: break
            }
            migration = try await apply(change, worker: worker)
        }
    }
}

struct BenchFailure: Error, CustomStringConvertible {
    let description: String

    init(_ description: String) { self.description = description }
}
