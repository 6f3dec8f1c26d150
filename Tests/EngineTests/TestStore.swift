import AgentFakes
import Fleet
import SQL
import Staging
import Store
import Synchronization

/// A database that can be made to fail or hang at a write, before it or after its commit.
final class HookedDatabase: SQLDatabase {
    enum Moment: Hashable, Sendable {
        case before
        case after
    }

    private let base: any SQLDatabase
    private let hook = Mutex<(@Sendable (Int, Moment) async throws -> Void)?>(nil)
    private let count = Mutex(0)
    private let readCount = Mutex(0)

    init(_ base: any SQLDatabase) { self.base = base }

    /// Called around every write with its number, from 1 on since the hook was set.
    func onWrite(_ hook: (@Sendable (Int, Moment) async throws -> Void)?) {
        count.withLock { $0 = 0 }
        self.hook.withLock { $0 = hook }
    }

    var writes: Int { count.withLock { $0 } }

    /// Since it was opened.
    var reads: Int { readCount.withLock { $0 } }

    var dialect: SQLDialect { base.dialect }

    func read<T: Sendable>(_ body: @Sendable (any SQLTransaction) async throws -> T) async throws -> T {
        readCount.withLock { $0 += 1 }
        return try await base.read(body)
    }

    func write<T: Sendable>(_ body: @Sendable (any SQLTransaction) async throws -> T) async throws -> T {
        let number = count.withLock { count in
            count += 1
            return count
        }
        let hook = hook.withLock { $0 }
        try await hook?(number, .before)
        let result = try await base.write(body)
        try await hook?(number, .after)
        return result
    }

    func changes() -> AsyncStream<Void> { base.changes() }
    func close() async { await base.close() }
}

/// A store with three hosts in a folder of its own.
struct Ground: Sendable {
    let store: Store
    let database: HookedDatabase
    let hosts: [Fleet.Host]

    var source: Fleet.Host { hosts[0] }
    var target: Fleet.Host { hosts[1] }

    /// - Parameter host: where the server is; the first one when nil.
    func submit(
        _ name: String = "vm1", from host: Fleet.Host? = nil, options: MigrationOptions = MigrationOptions(), maxAttempts: Int = 3
    ) async throws -> Migration {
        let id = ServerID.unique()
        let server = try await store.createServer(
            Server(
                id: id, name: name, status: .deploying, host: (host ?? source).id, epoch: .none,
                description: GuestDescription(
                    server: id, name: name, vcpus: 1, memoryBytes: 1 << 20, cpuModel: "qemu64-v1", machine: "pc-i440fx-7.2",
                    accelerator: .tcg, firmware: .bios, boot: nil,
                    disks: [.init(name: "disk0", sizeBytes: 1 << 20, format: .qcow2, bus: .virtioBlk, storage: "local")], cdrom: nil,
                    nics: []),
                note: nil, createdAt: .now), owner: "test", leaseMS: 60_000)
        try await store.finishOperation(server.id, epoch: server.epoch, status: .running, note: nil)
        return try await store.submitMigration(
            server: id, mode: .live, options: options, maxAttempts: maxAttempts, actor: "ada")
    }

    /// As if the lease of a holder, or of all, had run out.
    func expireLeases(of worker: String = "%") async throws {
        _ = try await database.write {
            try await $0.execute("UPDATE migrations SET lease_until = 0 WHERE active = 1 AND lease_owner LIKE \(worker)")
        }
    }

    /// As if the time of a retry had come.
    func makeDue() async throws {
        _ = try await database.write { try await $0.execute("UPDATE migrations SET due_at = 0 WHERE claimable = 1") }
    }

    /// The states in the order of the history, repetitions left out.
    func states(of migration: MigrationID) async throws -> [MigrationState] {
        try await store.history(of: migration).map(\.to).reduce(into: []) { states, state in
            if states.last != state { states.append(state) }
        }
    }

    /// The steps that stand in the journal of an attempt, with their statuses.
    func journal(of migration: MigrationID, attempt: Int = 1) async throws -> [String: JournalEntry.Status] {
        let entries = try await store.journal(of: migration).filter { $0.attempt == attempt }
        return Dictionary(uniqueKeysWithValues: entries.map { ($0.step, $0.status) })
    }
}

func withGround(_ body: (Ground) async throws -> Void) async throws {
    try await withDatabase("engine") { database in
        let database = HookedDatabase(database)
        let store = try await Store(database)
        var hosts: [Fleet.Host] = []
        for name in ["host1", "host2", "host3"] {
            let host = try await store.registerHost(name: name, agentURL: "https://\(name):7070")
            // How many migrations run at once is the worker's here, not the hosts'.
            _ = try await store.setHostLimits(host.id, inbound: 1000, outbound: 1000)
            try await store.recordHealth(of: host.id, facts: .staged(memoryGB: 1024, cpus: 64), validForMS: 3_600_000)
            hosts.append(try await store.host(host.id.value))
        }
        try await body(Ground(store: store, database: database, hosts: hosts))
    }
}
