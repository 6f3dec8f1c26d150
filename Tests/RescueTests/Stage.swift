import AgentAPI
import Fleet
import Foundation
import Logging
import Rescue
import SQL
import SQLite
import Steps
import Store
import Synchronization

@testable import Engine

/// A store with hosts that share a storage, and a server on host1, which is gone.
struct Stage: Sendable {
    let store: Store
    let fleet = FakeFleet()
    let hosts: [Fleet.Host]
    let server: Server

    static func run(
        status: ServerStatus = .running, storages: [String] = ["shared"], _ body: (Stage) async throws -> Void
    ) async throws {
        let folder = FileManager.default.temporaryDirectory.appending(path: "rescue-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: folder) }
        let database = try await SQLiteDatabase.open(path: folder.appending(path: "store.sqlite").path)
        do {
            try await body(Stage(Store(database), status, storages))
        } catch {
            await database.close()
            throw error
        }
        await database.close()
    }

    private init(_ store: Store, _ status: ServerStatus, _ storages: [String]) async throws {
        self.store = store
        var hosts: [Fleet.Host] = []
        for (number, name) in ["host1", "host2", "host3"].enumerated() {
            let host = try await store.registerHost(name: name, agentURL: "https://\(name)")
            // host2 is the freest but for the source.
            try await store.recordHealth(of: host.id, facts: Self.facts(64 - Int64(number) * 16), validForMS: 3_600_000)
            hosts.append(try await store.host(host.id.value))
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
                    }, cdrom: nil, nics: []),
                note: nil, createdAt: .now), owner: "test", leaseMS: 60_000)
        try await store.finishOperation(id, epoch: created.epoch, status: status, note: nil)
        server = try await store.server(id.value)
        fleet.nodes.withLock { nodes in
            nodes = ["host1": .init(isUp: false, isRunning: status == .running), "host2": .init(), "host3": .init()]
        }
        try await seeHost1(false)
    }

    private static func facts(_ gigabytes: Int64) -> HostFacts {
        HostFacts(
            architecture: "x86_64", cpuModel: "CPU", microcode: "1", kernel: "6.1", qemuVersion: "7.2.22",
            machineTypes: ["pc-i440fx-7.2"], machineAliases: [:], guestCPUModels: ["qemu64-v1"], accelerator: .tcg, warnings: [],
            cpus: 16, memoryBytes: gigabytes << 30, pageSizeBytes: 4096,
            storages: [
                Storage(name: "local", kind: .local, capacityBytes: 1 << 40, freeBytes: 1 << 40),
                Storage(name: "shared", kind: .shared, capacityBytes: 1 << 40, freeBytes: 1 << 40),
            ], networks: [], guests: [])
    }

    /// Whether the controllers see host1 answer.
    func seeHost1(_ isOnline: Bool) async throws {
        try await store.recordHealth(of: hosts[0].id, facts: Self.facts(64), validForMS: isOnline ? 3_600_000 : 0)
    }

    func submit(_ options: MigrationOptions = MigrationOptions(confirmHostDown: true)) async throws -> MigrationID {
        try await store.submitMigration(server: server.id, mode: .rescue, options: options, maxAttempts: 3, actor: "ada").id
    }

    func worker(_ name: String) -> Worker {
        var settings = EngineSettings()
        settings.patience = .milliseconds(100)
        settings.shortPatience = .milliseconds(30)
        settings.leaseMS = 10_000
        settings.retry = Backoff(base: .milliseconds(5), cap: .milliseconds(20))
        settings.awaiting = Backoff(base: .milliseconds(5), cap: .milliseconds(20))
        settings.reconnect = Backoff(base: .milliseconds(2), cap: .milliseconds(5))
        settings.cleanup = Backoff(base: .milliseconds(5), cap: .milliseconds(20))
        return Worker(
            store: store, plans: PlanCatalog([RescuePlan.plan(store: store, agents: fleet)]), agents: fleet, name: name,
            settings: settings, log: Logger(label: "test", factory: { _ in SwiftLogNoOpLogHandler() }))
    }

    /// Runs a worker while the body does.
    func withWorker<T>(_ name: String = "w1", _ body: () async throws -> T) async throws -> T {
        let worker = worker(name)
        let stop = Latch()
        return try await withThrowingTaskGroup(of: Void.self) { group in
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

    func end(of id: MigrationID) async throws -> Migration {
        try await eventually("migration \(id) ended") { try await store.migration(id.value).state.isFinished }
        return try await store.migration(id.value)
    }

    func runToEnd(_ options: MigrationOptions = MigrationOptions(confirmHostDown: true)) async throws -> Migration {
        let id = try await submit(options)
        return try await withWorker { try await end(of: id) }
    }

    var log: [String] { fleet.log.withLock { $0 } }

    func now() async throws -> (status: ServerStatus, host: String) {
        let server = try await store.server(server.id.value)
        return (server.status, try await store.host(server.host.value).name)
    }
}

struct TooLate: Error, CustomStringConvertible {
    let what: String
    var description: String { "it did not come to pass in time that \(what)" }
}
