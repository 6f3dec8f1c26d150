package import AgentFakes
package import Engine
import Failpoints
package import Fleet
package import Logging
import SQL
package import Store
import Synchronization

/// A store with hosts, their agents in memory, a server on host1, and workers that run one plan.
package struct PlanStage<World: FakeWorld>: Sendable {
    package let store: Store
    package let fleet: FakeFleet<World>
    package let hosts: [Fleet.Host]
    package let server: Server
    private let scene: Scene<World>
    private let plan: Plan

    package static func run(_ scene: Scene<World>, _ body: (PlanStage) async throws -> Void) async throws {
        try await withDatabase(scene.mode.rawValue) { database in
            try await body(PlanStage(Store(database), scene))
        }
    }

    private init(_ store: Store, _ scene: Scene<World>) async throws {
        self.store = store
        self.scene = scene
        fleet = FakeFleet(agent: scene.agent)
        plan = scene.plan(store, fleet, scene.steps)
        try Self.requireFailpoints(of: plan)
        var hosts: [Fleet.Host] = []
        for (number, name) in scene.hosts.enumerated() {
            let host = try await store.registerHost(name: name, agentURL: "https://\(name)")
            // host2 is the freest but for the source.
            try await store.recordHealth(of: host.id, facts: .staged(memoryGB: 64 - Int64(number) * 16), validForMS: 3_600_000)
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
                    disks: scene.storages.enumerated().map { number, storage in
                        .init(
                            name: "disk\(number)", sizeBytes: 1 << 20, format: .qcow2, bus: .virtioBlk, storage: storage,
                            bases: scene.base.map { [.init(name: $0, format: .qcow2, sizeBytes: 1 << 20)] })
                    }, cdrom: scene.cdrom, nics: []),
                note: nil, createdAt: .now), owner: "test", leaseMS: 60_000)
        try await store.finishOperation(id, epoch: created.epoch, status: scene.status, note: nil)
        server = try await store.server(id.value)
    }

    private static func requireFailpoints(of plan: Plan) throws {
        let named = Failpoint.steps.first { $0.mode == plan.mode.rawValue }?.steps ?? []
        let wanted = plan.steps.map(\.name)
        guard named == wanted else { throw StepsWithoutFailpoints(mode: plan.mode, named: named, wanted: wanted) }
    }

    // MARK: what a test does

    package func submit(_ options: MigrationOptions? = nil, maxAttempts: Int = 3) async throws -> MigrationID {
        try await store.submitMigration(
            server: server.id, mode: scene.mode, options: options ?? scene.options, maxAttempts: maxAttempts, actor: "ada"
        ).id
    }

    package func worker(_ name: String = "w1", leaseMS: Int64 = 10_000) -> Worker {
        var settings = EngineSettings.quick
        settings.leaseMS = leaseMS
        return Worker(
            store: store, plans: PlanCatalog([plan]), agents: fleet, name: name, settings: settings, log: .silent)
    }

    /// Runs a worker while the body does.
    package func withWorker<T>(_ name: String = "w1", leaseMS: Int64 = 10_000, _ body: () async throws -> T) async throws -> T {
        let stop = Latch()
        return try await withThrowingTaskGroup(of: Void.self) { group in
            let worker = worker(name, leaseMS: leaseMS)
            group.addTask { await worker.run(until: stop) }
            defer { stop.set() }
            return try await body()
        }
    }

    package func eventually(_ what: String, _ condition: () async throws -> Bool) async throws {
        try await AgentFakes.eventually(what, condition)
    }

    /// Waits for the end of a migration and of what it left to be cleaned up.
    package func end(of id: MigrationID, cleanups: Bool = true) async throws -> Migration {
        try await eventually("migration \(id) ended") { try await store.migration(id.value).state.isFinished }
        if cleanups, scene.hasCleanEnd { try await eventually("all is cleaned up") { try await store.cleanups().isEmpty } }
        return try await store.migration(id.value)
    }

    package func runToEnd(_ options: MigrationOptions? = nil, maxAttempts: Int = 3) async throws -> Migration {
        let id = try await submit(options, maxAttempts: maxAttempts)
        return try await withWorker { try await end(of: id) }
    }

    /// As if every lease of a worker that died had run out.
    package func expireLeases() async throws {
        _ = try await store.database.write { try await $0.execute("UPDATE migrations SET lease_until = 0 WHERE active = 1") }
        // A cleanup that a dead worker held is due when its lease ends.
        _ = try await store.database.write { try await $0.execute("UPDATE cleanups SET due_at = 0 WHERE done_at IS NULL") }
    }

    /// Where the server is and what its status is, as the store says, with nothing reserved for it any more.
    package func settled() async throws -> (host: String, status: ServerStatus, isFree: Bool) {
        let server = try await store.server(server.id.value)
        let loads = try await store.hostLoads()
        return (try await store.host(server.host.value).name, server.status, loads.allSatisfy { $0.inboundMigrations == 0 })
    }
}

extension Logger {
    /// Says nothing.
    package static let silent = Logger(label: "test", factory: { _ in SwiftLogNoOpLogHandler() })
}

/// The catalog of failure points names other steps than a mode's plan has.
struct StepsWithoutFailpoints: Error {
    let mode: Mode
    let named: [String]
    let wanted: [String]
}
