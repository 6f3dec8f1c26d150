import Backends
import Fleet
import SQL
import Store
import Testing

/// The limit on all migrations of the cluster together.
@Suite struct QueueLimitTests {
    private func names(_ stem: String, _ count: Int) -> [String] { (0..<count).map { "\(stem)\($0)" } }

    private func fleet(_ store: Store, _ servers: [String]) async throws -> (Host, Host) {
        let one = try await store.addHost("one", facts: .sample(cpus: 64, memoryBytes: 64 * gibibyte))
        let two = try await store.addHost("two", facts: .sample(cpus: 64, memoryBytes: 64 * gibibyte))
        try await store.addServers(servers, on: one)
        return (one, two)
    }

    /// The most that were ever under way at once, by the history alone.
    private func most(_ store: Store) async throws -> Int64 {
        let rows = try await store.database.read { transaction in
            try await transaction.query(
                """
                SELECT MAX(level) AS most FROM (
                    SELECT SUM(CASE to_state WHEN 'scheduling' THEN 1 ELSE -1 END) OVER (ORDER BY seq) AS level
                    FROM transitions WHERE to_state IN ('scheduling', 'failed')) AS levels
                """)
        }
        return try rows.first?.integer("most") ?? 0
    }

    @Test(arguments: Backend.available)
    func `no more than the cluster may are ever under way, whatever eight workers claim`(_ backend: Backend) async throws {
        try await withStores(backend, 8) { stores in
            let (first, second, single) = (names("a", 25), names("b", 25), names("s", 10))
            _ = try await fleet(stores[0], first + second + single)
            #expect(try await stores[0].setQueueLimit(5, actor: "ada").maxParallel == 5)
            _ = try await stores[0].submitBatch(.sample(first, name: "first", maxParallel: 4))
            _ = try await stores[0].submitBatch(.sample(second, name: "second", priority: 2))
            for name in single { _ = try await stores[0].submit(stores[0].server(name)) }
            let claimed = try await withThrowingTaskGroup(of: (ids: [MigrationID], most: Int).self) { group in
                for (number, store) in stores.enumerated() {
                    group.addTask {
                        var (ids, most): ([MigrationID], Int) = ([], 0)
                        while try await store.unfinished() > 0 {
                            let claimed = try await store.claims(4, worker: "w\(number)")
                            most = max(most, try await store.queueState().running)
                            for migration in claimed { try await store.endEarly(migration, worker: "w\(number)") }
                            ids += claimed.map(\.id)
                            // Others have all that may be under way: they end it without telling.
                            if claimed.isEmpty { try await Task.sleep(for: .milliseconds(2)) }
                        }
                        return (ids, most)
                    }
                }
                return try await group.reduce(into: (ids: [MigrationID](), most: 0)) { all, one in
                    all = (all.ids + one.ids, max(all.most, one.most))
                }
            }
            #expect(claimed.ids.count == 60 && Set(claimed.ids).count == 60, "each once")
            #expect(claimed.most > 1 && claimed.most <= 5)
            #expect(try await most(stores[0]) <= 5)
            #expect(try await stores[0].queueState().running == 0)
        }
    }

    @Test(arguments: Backend.available)
    func `a limit holds for what begins after it, and the next begins as soon as there is room`(_ backend: Backend) async throws {
        try await withStore(backend) { store in
            _ = try await fleet(store, ["a", "b", "c", "d"])
            _ = try await store.submitBatch(.sample(["a", "b", "c"]))
            let before = try await store.queueState()
            #expect((before.maxParallel, before.running, before.waiting, before.changedBy) == (nil, 0, 3, nil))
            let begun = try await store.claims(2)
            #expect(begun.count == 2)
            // Lower than what is under way: that goes on, and nothing more begins.
            let state = try await store.setQueueLimit(1, actor: "ada")
            #expect((state.maxParallel, state.running, state.waiting, state.changedBy) == (1, 2, 1, "ada"))
            _ = try await store.submit(store.server("d"))
            #expect(try await store.claims(9).isEmpty)
            #expect(try await store.nextDueInMS() ?? 0 > 1000, "only leases are waited for")
            try await store.endEarly(begun[0])
            #expect(try await store.claims(9).isEmpty)
            try await store.endEarly(begun[1])
            #expect(try await store.nextDueInMS() == 0)
            let next = try await store.claims(9)
            #expect(next.count == 1)
            _ = try await store.setQueueLimit(0, actor: "bob")
            try await store.endEarly(next[0])
            #expect(try await store.claims(9).isEmpty)
            #expect(try await store.nextDueInMS() == nil)
            #expect(try await store.setQueueLimit(nil, actor: "bob").maxParallel == nil)
            #expect(try await store.claims(9).count == 1)
        }
    }

    @Test(arguments: Backend.available)
    func `what is taken over, ended or waits with something on a host needs no second place`(_ backend: Backend) async throws {
        try await withStore(backend) { store in
            let (_, two) = try await fleet(store, ["a", "b"])
            for name in ["a", "b"] { _ = try await store.submit(store.server(name)) }
            _ = try await store.setQueueLimit(1, actor: "ada")
            // Its worker died.
            #expect(try await store.names(store.claims(9, leaseMS: 0)) == ["a"])
            let taken = try #require(try await store.claims(9, worker: "w2").first)
            #expect(try await store.names([taken]) == ["a"])
            // Its worker stopped in the middle.
            var migration = try await store.advance(taken, to: .scheduling, worker: "w2")
            migration = try await store.advance(migration, to: .syncingDisk, worker: "w2") { change in
                change.migration.target = two.id
                change.reserve = .sample(taken.id, on: two)
                change.releaseLease = true
            }
            #expect(try await store.queueState().running == 1)
            #expect(try await store.nextDueInMS() == 0)
            #expect(try await store.names(store.claims(9, worker: "w3")) == ["a"])
            // Who waits and holds nothing leaves its place.
            let back = try await store.advance(try await store.migration(migration.id.value), to: .syncingDisk, worker: "w3") { change in
                change.migration.direction = .rollback
                change.migration.reason = Reason(.targetLost, "It is gone.")
                change.migration.remedy = .otherTarget
            }
            #expect(try await store.queueState().running == 1)
            try await store.advance(back, to: .scheduling, worker: "w3") { change in
                change.migration.direction = .forward
                change.migration.remedy = nil
                change.migration.target = nil
                change.migration.attempt += 1
                change.release = true
                change.releaseLease = true
                change.dueInMS = 60_000
            }
            #expect(try await store.queueState().running == 0)
            #expect(try await store.names(store.claims(9)) == ["b"])
            #expect(try await store.claims(9).isEmpty)
            // And ends without one.
            #expect(try await store.requestCancel(migration.id, actor: "ada").state == .failed)
            #expect(try await store.queueState().running == 1)
        }
    }
}

extension Store {
    fileprivate func unfinished() async throws -> Int64 {
        let rows = try await database.read { try await $0.query("SELECT COUNT(*) AS n FROM migrations WHERE finished_at IS NULL") }
        return try rows.first?.integer("n") ?? 0
    }
}
