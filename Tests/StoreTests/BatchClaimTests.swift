import Backends
import Fleet
import SQL
import Store
import Synchronization
import Testing

@Suite struct BatchClaimTests {
    /// What all workers of a test have under way.
    private final class Tally: Sendable {
        private let counts = Mutex((under: 0, most: 0, done: 0))
        var done: Int { counts.withLock { $0.done } }
        var most: Int { counts.withLock { $0.most } }
        func begin(_ number: Int) {
            counts.withLock { counts in
                counts.under += number
                counts.most = max(counts.most, counts.under)
            }
        }
        func leave() { counts.withLock { $0.under -= 1 } }
        func end() { counts.withLock { $0.done += 1 } }
    }

    private func names(_ stem: String, _ count: Int) -> [String] { (0..<count).map { "\(stem)\($0)" } }

    /// A host with room for all, a second one, and running servers.
    private func fleet(_ store: Store, _ servers: [String]) async throws -> (Host, Host) {
        let one = try await store.addHost("one", facts: .sample(cpus: 64, memoryBytes: 64 * gibibyte))
        let two = try await store.addHost("two", facts: .sample(cpus: 64, memoryBytes: 64 * gibibyte))
        try await store.addServers(servers, on: one)
        return (one, two)
    }

    @Test(arguments: Backend.available)
    func `no more than max_parallel are ever under way, whatever eight workers do`(_ backend: Backend) async throws {
        try await withStores(backend, 8) { stores in
            let servers = names("s", 60)
            _ = try await fleet(stores[0], servers)
            let batch = try await stores[0].submitBatch(.sample(servers, maxParallel: 3)).batch
            let now = Tally()
            try await withThrowingTaskGroup(of: Void.self) { group in
                for (number, store) in stores.enumerated() {
                    group.addTask {
                        let worker = "w\(number)"
                        while now.done < 60 {
                            let claimed = try await store.claims(4, worker: worker)
                            now.begin(claimed.count)
                            for migration in claimed {
                                let begun = try await store.advance(migration, to: .scheduling, worker: worker)
                                // Before the row says so, so that what is counted here is never more than what is there.
                                now.leave()
                                try await store.endEarly(begun, worker: worker)
                                now.end()
                            }
                            // Others have all that may be under way: they end it without telling.
                            if claimed.isEmpty { try await Task.sleep(for: .milliseconds(2)) }
                        }
                    }
                }
                try await group.waitForAll()
            }
            #expect(now.most <= 3)
            let ended = try await stores[0].batch(batch.id.value)
            #expect(ended.counted == [0, 0, 60, 0])
            #expect(ended.finishedAt != nil)
            // From the history: begun minus ended is never above three.
            let rows = try await stores[0].database.read { transaction in
                try await transaction.query(
                    """
                    SELECT MAX(level) AS most FROM (
                        SELECT SUM(CASE to_state WHEN 'scheduling' THEN 1 ELSE -1 END) OVER (ORDER BY seq) AS level
                        FROM transitions WHERE to_state IN ('scheduling', 'failed')) AS levels
                    """)
            }
            #expect(try rows.first?.integer("most") ?? 0 <= 3)
        }
    }

    @Test(arguments: Backend.available)
    func `the database itself knows the limit`(_ backend: Backend) async throws {
        try await withStore(backend) { store in
            _ = try await fleet(store, ["a", "b"])
            let batch = try await store.submitBatch(.sample(["a", "b"], maxParallel: 1)).batch
            #expect(try await store.claims(10).count == 1)
            await breach("batches_parallel", of: store, "UPDATE batches SET running = running + 1 WHERE id = \(batch.id.value)")
        }
    }

    @Test(arguments: Backend.available)
    func `nothing begins while a batch is paused or before its time, and what was begun goes on`(_ backend: Backend) async throws {
        try await withStore(backend) { store in
            let (_, two) = try await fleet(store, ["a", "b", "c"])
            let batch = try await store.submitBatch(.sample(["a", "b"])).batch
            let begun = try #require(try await store.claims(1).first)
            #expect(try await store.pauseBatch(batch.id, actor: "bob").pausedBy == "bob")
            #expect(try await store.pauseBatch(batch.id, actor: "eve").pausedBy == "bob")
            #expect(try await store.claims(9).isEmpty)
            #expect(try await store.nextDueInMS() ?? 0 > 1000, "only the lease is waited for")
            // A worker that stops gives it back; it holds something on its target, so that another one takes it over all the same.
            var migration = try await store.advance(begun, to: .scheduling)
            migration = try await store.advance(migration, to: .syncingDisk) { change in
                change.migration.target = two.id
                change.reserve = .sample(begun.id, on: two)
                change.releaseLease = true
            }
            #expect(try await store.batch("b").running == 1)
            #expect(try await store.nextDueInMS() == 0)
            #expect(try await store.claims(9, worker: "w2").map(\.id) == [begun.id])
            #expect(try await store.resumeBatch(batch.id).pausedBy == nil)
            #expect(try await store.names(store.claims(9)) == ["b"])

            _ = try await store.submitBatch(
                .sample(["c"], name: "later", startAt: Timestamp(milliseconds: Timestamp.now.milliseconds + 3000)))
            #expect(try await store.claims(9).isEmpty)
            let due = try #require(try await store.nextDueInMS())
            #expect(due > 0 && due <= 3000)
            try await Task.sleep(for: .milliseconds(due + 5))
            #expect(try await store.names(store.claims(9)) == ["c"])
        }
    }

    @Test(arguments: Backend.available)
    func `the rest is held at so many failures, and goes on when somebody says so`(_ backend: Backend) async throws {
        try await withStore(backend) { store in
            let servers = names("s", 8)
            _ = try await fleet(store, servers)
            let batch = try await store.submitBatch(.sample(servers, maxParallel: 2, maxFailures: .percent(25))).batch
            for migration in try await store.claims(9) { try await store.endEarly(migration) }
            let held = try await store.batch("b")
            #expect(held.held?.code == .tooManyFailures)
            #expect(held.held?.message == "2 of its migrations failed, and it may have 25% failures.")
            #expect((held.failed, held.status(at: .now)) == (2, .held))
            #expect(try await store.claims(9).isEmpty)
            #expect(try await store.nextDueInMS() == nil)
            let resumed = try await store.resumeBatch(batch.id)
            #expect(resumed.held == nil)
            // The first two are forgiven: two more hold it again.
            let third = try #require(try await store.claims(1).first)
            try await store.endEarly(third)
            #expect(try await store.batch("b").held == nil)
            let fourth = try #require(try await store.claims(1).first)
            try await store.endEarly(fourth)
            #expect(try await store.batch("b").held != nil)
        }
    }

    @Test(arguments: Backend.available)
    func `what has a higher priority goes first, and of the same priority who has least under way`(_ backend: Backend) async throws {
        try await withStore(backend) { store in
            let (big, small, high) = (names("big", 10), names("small", 2), names("high", 1))
            _ = try await fleet(store, big + small + high + ["single", "urgent", "idle"])
            _ = try await store.submitBatch(.sample(big, name: "big"))
            #expect(try await store.names(store.claims(4)) == Array(big[..<4]))
            _ = try await store.submitBatch(.sample(small, name: "small"))
            _ = try await store.submitBatch(.sample(high, name: "high", priority: 5))
            // A single one, submitted last, has nothing under way.
            _ = try await store.submit(store.server("single"))
            _ = try await store.submit(store.server("idle"), priority: -1)
            #expect(try await store.submit(store.server("urgent"), priority: 6).priority == 6)
            #expect(try await store.names(store.claims(4)) == ["urgent", "high0", "single", "small0"])
            #expect(try await Set(store.names(store.claims(2))) == ["small1", "big4"])
        }
    }

    @Test(arguments: Backend.available)
    func `who waits and holds nothing leaves its place to the next`(_ backend: Backend) async throws {
        try await withStore(backend) { store in
            _ = try await fleet(store, ["a", "b"])
            let batch = try await store.submitBatch(.sample(["a", "b"], maxParallel: 1)).batch
            let first = try #require(try await store.claims(9).first)
            try await store.advance(first, to: .scheduling) { change in
                change.migration.awaiting = "a slot"
                change.releaseLease = true
                change.dueInMS = 60_000
            }
            #expect(try await store.names(store.claims(9)) == ["b"])
            let counts = try await store.counts(of: try await store.batch(batch.id.value))
            #expect(counts.states == [.scheduling: 1, .pending: 1])
        }
    }

    @Test(arguments: Backend.available)
    func `a lease that ended is taken over without another place`(_ backend: Backend) async throws {
        try await withStore(backend) { store in
            _ = try await fleet(store, ["a", "b"])
            _ = try await store.submitBatch(.sample(["a", "b"], maxParallel: 1))
            #expect(try await store.names(store.claims(9, leaseMS: 0)) == ["a"])
            #expect(try await store.names(store.claims(9, worker: "w2")) == ["a"])
            #expect(try await store.batch("b").running == 1)
        }
    }
}
