import AgentAPI
import AgentFakes
import Backends
import Fleet
import PostgreSQL
import SQL
import Staging
import Steps
import Store
import Synchronization
import Testing

@testable import Engine

/// A fleet's store that dies again and again under its workers. The server is one of the test's own, with the workers' connections each
/// worker's own, as those of processes are.
@Suite struct OutageTests {
    private static let hosts = 10
    /// Of each host, in either direction: somewhat fewer than the migrations there are, so that some have to wait.
    private static let slots = 20
    private static let migrations = 240
    private static let workers = ["w1", "w2", "w3", "w4"]

    @Test func `PostgreSQL dies at once, again and again, under two hundred migrations of four workers`() async throws {
        try await PostgresServer.with { server in
            let schema = try await server.makeSchema()
            var databases: [any SQLDatabase] = []
            for _ in 0...Self.workers.count {
                databases.append(
                    try await PostgresDatabase.open(server.url(schema: schema), connections: 6, patience: .seconds(60)))
            }
            let outcome: Result<Void, any Error>
            do { outcome = .success(try await Self.outlive(server, databases)) } catch { outcome = .failure(error) }
            for database in databases { await database.close() }
            try outcome.get()
        }
    }

    private static func outlive(_ server: PostgresServer, _ databases: [any SQLDatabase]) async throws {
        let store = try await Store(databases[0])
        try await fill(store)
        let recorder = Recorder()
        let isOpen = Latch()
        let held = Mutex(Set<MigrationID>())
        let stop = Latch()
        try await withThrowingTaskGroup(of: Void.self) { group in
            for (name, database) in zip(workers, databases.dropFirst()) {
                let own = try await Store(database)
                var script = Script(target: "")
                let place = PlaceStep(ground: Steps.Ground(store: own, agents: FakeAgent()))
                script.place = { try await place.perform($0) }
                script.copy = { context in
                    held.withLock { _ = $0.insert(context.migration.id) }
                    await isOpen.wait()
                    return StepResult(event: .disksSynced)
                }
                var settings = EngineSettings.quick
                settings.concurrency = 60
                // No lease ends meanwhile, so that nothing is done a second time by another.
                settings.leaseMS = 300_000
                let worker = Worker(
                    store: own, plans: PlanCatalog([script.plan(recorder)]), agents: FakeAgent(), name: name, settings: settings,
                    log: .silent)
                group.addTask { await worker.run(until: stop) }
            }
            defer { stop.set() }
            // Not all: the last free slots in and out may be those of one host, which none of its own servers can use.
            try await eventually("nearly as many run as there are slots for", within: .seconds(120)) {
                held.withLock { $0.count } >= hosts * slots * 9 / 10
            }
            try await server.stopImmediately()
            try await server.startAgain()
            isOpen.set()
            for _ in 0..<3 {
                let ended = try await ready(store)
                try await eventually("more are ready", within: .seconds(120)) { try await ready(store) >= min(ended + 20, migrations) }
                try await server.stopImmediately()
                try await server.startAgain()
            }
            try await eventually("all are ready", within: .seconds(180)) { try await ready(store) == migrations }
            try await eventually("all is cleaned up", within: .seconds(60)) { try await store.cleanups().isEmpty }
        }
        #expect(recorder.overlaps.isEmpty)
        try await prove(store, databases[0])
    }

    /// Every migration of a host goes to any other, and each host is the source of as many.
    private static func fill(_ store: Store) async throws {
        var sources: [Fleet.Host] = []
        for number in 0..<hosts {
            let host = try await store.registerHost(name: "host\(number)", agentURL: "https://host\(number):7070")
            _ = try await store.setHostLimits(host.id, inbound: slots, outbound: slots)
            try await store.recordHealth(of: host.id, facts: .staged(memoryGB: 1024, cpus: 64), validForMS: 3_600_000)
            sources.append(try await store.host(host.id.value))
        }
        let ground = Ground(store: store, database: HookedDatabase(store.database), hosts: sources)
        for number in 0..<migrations { _ = try await ground.submit("vm\(number)", from: sources[number % hosts]) }
    }

    private static func ready(_ store: Store) async throws -> Int {
        try await store.migrations(MigrationFilter(states: [.ready], limit: 1000)).count
    }

    /// From the history alone: all ended right and once, and no host ever had more under way than its slots.
    private static func prove(_ store: Store, _ database: any SQLDatabase) async throws {
        let ends = try await database.read { transaction in
            try await transaction.query(
                """
                SELECT migration_id, MAX(attempt) AS attempts,
                    SUM(CASE WHEN to_state = 'ready' THEN 1 ELSE 0 END) AS ends,
                    SUM(CASE WHEN from_state = 'scheduling' THEN 1 ELSE 0 END) AS placings
                FROM transitions WHERE from_state IS NULL OR from_state <> to_state GROUP BY migration_id
                """
            ).map { try [$0.integer("ends"), $0.integer("placings"), $0.integer("attempts")] }
        }
        #expect(ends.count == migrations && ends.allSatisfy { $0 == [1, 1, 1] }, "\(ends.filter { $0 != [1, 1, 1] })")
        for host in ["source_id", "target_id"] {
            let most = try await database.read { transaction in
                try await transaction.query(
                    SQLStatement(parts: [
                        .text(
                            """
                            SELECT MAX(running) AS most FROM (
                                SELECT SUM(change) OVER (PARTITION BY host ORDER BY at, change ROWS UNBOUNDED PRECEDING) AS running
                                FROM (
                                    SELECT \(host) AS host, at, 1 AS change FROM transitions
                                    WHERE from_state = 'scheduling' AND to_state = 'syncing-disk'
                                    UNION ALL SELECT \(host), at, -1 FROM transitions WHERE from_state = 'switching' AND to_state = 'ready'
                                ) AS changes
                            ) AS sums
                            """)
                    ]))[0].integer("most")
            }
            #expect((Int64(slots / 2)...Int64(slots)).contains(most), "\(host): \(most)")
        }
        let total = try await store.hostLoads().reduce(0) { $0 + $1.inboundMigrations + $1.outboundMigrations }
        #expect(total == 0, "\(total) slots are still taken")
    }
}
