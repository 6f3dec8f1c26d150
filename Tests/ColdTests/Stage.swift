import AgentAPI
import Cold
import Fleet
import Foundation
import Logging
import SQL
import SQLite
import Steps
import Store
import Synchronization

@testable import Engine

/// A store with hosts, agents in memory, and a stopped server on host1.
struct Stage: Sendable {
    let store: Store
    let fleet = FakeFleet()
    let hosts: [Fleet.Host]
    let server: Server
    let settings: EngineSettings
    let steps: StepSettings

    static func run(
        hosts names: [String] = ["host1", "host2", "host3"], storages: [String] = ["local"],
        _ body: (Stage) async throws -> Void
    ) async throws {
        let folder = FileManager.default.temporaryDirectory.appending(path: "cold-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: folder) }
        let database = try await SQLiteDatabase.open(path: folder.appending(path: "store.sqlite").path)
        do {
            try await body(Stage(Store(database), names, storages: storages))
        } catch {
            await database.close()
            throw error
        }
        await database.close()
    }

    private init(_ store: Store, _ names: [String], storages: [String]) async throws {
        self.store = store
        var hosts: [Fleet.Host] = []
        for (number, name) in names.enumerated() {
            let host = try await store.registerHost(name: name, agentURL: "https://\(name)")
            // host2 is the freest but for the source.
            try await store.recordHealth(
                of: host.id, facts: Self.facts(memoryBytes: Int64(64 - number * 16) << 30), validForMS: 3_600_000)
            hosts.append(try await store.host(host.id.value))
            fleet.world.withLock { $0.nodes[name] = World.Node() }
        }
        self.hosts = hosts
        let id = ServerID.unique()
        let created = try await store.createServer(
            Server(
                id: id, name: "vm1", status: .deploying, host: hosts[0].id, epoch: .none,
                description: GuestDescription(
                    server: id, name: "vm1", vcpus: 1, memoryBytes: 8 << 30, cpuModel: "qemu64-v1", machine: "pc-i440fx-7.2",
                    accelerator: .tcg, firmware: .bios, boot: nil,
                    disks: storages.enumerated().map { number, storage in
                        .init(name: "disk\(number)", sizeBytes: 1 << 20, format: .qcow2, bus: .virtioBlk, storage: storage)
                    },
                    cdrom: nil, nics: []),
                note: nil, createdAt: .now), owner: "test", leaseMS: 60_000)
        try await store.finishOperation(id, epoch: created.epoch, status: .ready, note: nil)
        server = try await store.server(id.value)
        fleet.world.withLock { world in
            world.nodes["host1"]?.isHome = true
            world.nodes["host1"]?.hasFiles = true
        }
        var settings = EngineSettings()
        settings.patience = .milliseconds(200)
        settings.shortPatience = .milliseconds(30)
        settings.retry = Backoff(base: .milliseconds(5), cap: .milliseconds(20))
        settings.awaiting = Backoff(base: .milliseconds(5), cap: .milliseconds(20))
        settings.reconnect = Backoff(base: .milliseconds(2), cap: .milliseconds(5))
        settings.cleanup = Backoff(base: .milliseconds(5), cap: .milliseconds(20))
        self.settings = settings
        var steps = StepSettings()
        steps.pollMS = 20
        self.steps = steps
    }

    private static func facts(memoryBytes: Int64) -> HostFacts {
        HostFacts(
            architecture: "x86_64", cpuModel: "CPU", microcode: "1", kernel: "6.1", qemuVersion: "7.2.22",
            machineTypes: ["pc-i440fx-7.2"], machineAliases: [:], guestCPUModels: ["qemu64-v1"], accelerator: .tcg, warnings: [],
            cpus: 16, memoryBytes: memoryBytes, pageSizeBytes: 4096,
            storages: [
                Storage(name: "local", kind: .local, capacityBytes: 1 << 40, freeBytes: 1 << 40),
                Storage(name: "pool", kind: .shared, capacityBytes: 1 << 40, freeBytes: 1 << 40),
            ], networks: [], guests: [])
    }

    func submit(_ options: MigrationOptions = MigrationOptions(), maxAttempts: Int = 3) async throws -> MigrationID {
        try await store.submitMigration(server: server.id, mode: .cold, options: options, maxAttempts: maxAttempts, actor: "ada").id
    }

    func worker(_ name: String = "w1", leaseMS: Int64 = 10_000) -> Worker {
        var settings = settings
        settings.leaseMS = leaseMS
        return Worker(
            store: store, plans: PlanCatalog([ColdPlan.plan(store: store, agents: fleet, settings: steps)]), agents: fleet, name: name,
            settings: settings, log: Logger(label: "test", factory: { _ in SwiftLogNoOpLogHandler() }))
    }

    /// Runs a worker while the body does.
    func withWorker<T>(_ name: String = "w1", leaseMS: Int64 = 10_000, _ body: () async throws -> T) async throws -> T {
        let stop = Latch()
        return try await withThrowingTaskGroup(of: Void.self) { group in
            let worker = worker(name, leaseMS: leaseMS)
            group.addTask { await worker.run(until: stop) }
            defer { stop.set() }
            return try await body()
        }
    }

    func eventually(_ what: String, _ condition: () async throws -> Bool) async throws {
        let end = ContinuousClock.now + .seconds(20)
        while try await !condition() {
            guard ContinuousClock.now < end else { throw TooLate(what: what) }
            try await Task.sleep(for: .milliseconds(3))
        }
    }

    /// Waits for the end of a migration and of what it left to be cleaned up.
    func end(of id: MigrationID, cleanups: Bool = true) async throws -> Migration {
        try await eventually("migration \(id) ended") { try await store.migration(id.value).state.isFinished }
        if cleanups { try await eventually("all is cleaned up") { try await store.cleanups().isEmpty } }
        return try await store.migration(id.value)
    }

    func runToEnd(_ options: MigrationOptions = MigrationOptions(), maxAttempts: Int = 3) async throws -> Migration {
        let id = try await submit(options, maxAttempts: maxAttempts)
        return try await withWorker { try await end(of: id) }
    }

    func expireLeases() async throws {
        _ = try await store.database.write { try await $0.execute("UPDATE migrations SET lease_until = 0 WHERE active = 1") }
        // A cleanup that a dead worker held is due when its lease ends.
        _ = try await store.database.write { try await $0.execute("UPDATE cleanups SET due_at = 0 WHERE done_at IS NULL") }
    }

    // MARK: what is true

    /// Where the server could be started.
    var homes: [String] { fleet.world.withLock { $0.nodes.filter(\.value.isHome).keys.sorted() } }
    var files: [String] { fleet.world.withLock { $0.nodes.filter(\.value.hasFiles).keys.sorted() } }
    var violations: [String] { fleet.world.withLock { $0.violations } }

    /// Whole, in one place, free to be started there, and the store says so.
    func isWhole(on name: String, status: ServerStatus = .ready) async throws -> Bool {
        let server = try await store.server(self.server.id.value)
        let host = try await store.host(server.host.value)
        let loads = try await store.hostLoads()
        let isLent = fleet.world.withLock { $0.nodes[name]?.loan?.phase == .lent }
        return homes == [name] && files == [name] && violations.isEmpty && host.name == name && server.status == status && !isLent
            && loads.allSatisfy { $0.inboundMigrations == 0 }
    }
}

struct TooLate: Error, CustomStringConvertible {
    let what: String
    var description: String { "it did not come to pass in time that \(what)" }
}
