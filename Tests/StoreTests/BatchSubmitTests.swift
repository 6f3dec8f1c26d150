import Backends
import Fleet
import SQL
import Store
import Testing

@Suite struct BatchSubmitTests {
    @Test(arguments: Backend.available)
    func `a batch is taken whole, in its order, each server in the mode that suits it`(_ backend: Backend) async throws {
        try await withStore(backend) { store in
            let host = try await store.addHost("one")
            let running = try await store.addServer("web", on: host)
            _ = try await store.addServer("off", on: host, status: .ready)
            let third = try await store.addServer("third", on: host)
            let beginning = String(third.id.value.prefix(12)).uppercased()
            let receipt = try await store.submitBatch(
                .sample(["off", running.id.value, beginning], priority: 7, maxParallel: 2, maxFailures: .percent(50)))
            #expect(receipt.isNew && receipt.flaws.isEmpty)
            #expect((receipt.batch.total, receipt.batch.priority, receipt.batch.maxParallel) == (3, 7, 2))
            #expect(receipt.batch.maxFailures == .percent(50))
            let filter = MigrationFilter(batch: receipt.batch.id, newestFirst: false)
            let migrations = try await store.migrations(filter)
            #expect(try await store.names(migrations) == ["off", "web", "third"])
            #expect(migrations.map(\.mode) == [.cold, .live, .live])
            #expect(
                migrations.allSatisfy {
                    $0.batch == receipt.batch.id && $0.state == .pending && $0.actor == "ada" && $0.id.value.count == 36
                })
            #expect(migrations.map(\.statusBefore) == [.ready, .running, .running])
            for migration in migrations {
                #expect(try await store.history(of: migration.id).map(\.to) == [.pending])
                #expect(try await store.server(migration.server.value).status == .startMigrate)
            }
            #expect(try await store.batch(receipt.batch.id.value) == receipt.batch)
            #expect(try await store.batch("b") == receipt.batch)
        }
    }

    @Test(arguments: Backend.available)
    func `every line that cannot be taken is told with its reason, and then nothing is taken`(_ backend: Backend) async throws {
        try await withStore(backend) { store in
            let (one, two) = (try await store.addHost("one"), try await store.addHost("two"))
            for name in ["a", "b", "moving"] { _ = try await store.addServer(name, on: one) }
            _ = try await store.addServer("off", on: one, status: .ready)
            _ = try await store.addServer("there", on: two)
            let moving = try await store.submit(store.server("moving"))
            var draft = BatchDraft.sample(["a", "nosuch", "b", "a", "moving", "off", "there", "0000000011"], mode: .live)
            draft.liveOptions.preferHost = two.id
            let before = try await store.migrations(MigrationFilter(limit: 100))
            do {
                _ = try await store.submitBatch(draft)
                Issue.record("taken")
            } catch let refusal as BatchRefusal {
                #expect(refusal.lines == 8)
                #expect(refusal.flaws.map(\.line) == [2, 4, 5, 6, 7, 8])
                #expect(refusal.flaws.map(\.id) == ["nosuch", "a", "moving", "off", "there", "0000000011"])
                #expect(
                    refusal.flaws.map(\.reason.code)
                        == ["not-found", "duplicate", "busy", "wrong-status", "same-host", "not-found"])
                #expect(refusal.flaws[1].reason.message.contains("before, as “a”"))
                #expect(refusal.flaws[2].reason.message.contains(moving.id.value))
            }
            #expect(try await store.migrations(MigrationFilter(limit: 100)) == before)
            #expect(try await store.batches().isEmpty)
            #expect(try await store.server("a").status == .running)

            let judged = try await store.judgeBatch(draft)
            #expect(judged.flaws.count == 6 && judged.modes.map(\.mode) == [.live, .live])

            draft.skipsInvalid = true
            let receipt = try await store.submitBatch(draft)
            #expect((receipt.batch.total, receipt.batch.skipped, receipt.flaws.count) == (2, 6, 6))
            #expect(try await store.flaws(of: receipt.batch.id) == receipt.flaws)
            // With nothing left to take there is no batch either.
            await #expect(throws: BatchRefusal.self) { try await store.submitBatch(draft) }
            #expect(try await store.batches().count == 1)
        }
    }

    @Test(arguments: Backend.available)
    func `eight clients at once with one token make one batch, and another submit under it is refused`(_ backend: Backend) async throws {
        try await withStores(backend, 8) { stores in
            let host = try await stores[0].addHost("one", facts: .sample(cpus: 64, memoryBytes: 64 * gibibyte))
            let names = (0..<20).map { "s\($0)" }
            try await stores[0].addServers(names, on: host)
            let receipts = try await withThrowingTaskGroup(of: BatchReceipt.self) { group in
                for store in stores { group.addTask { try await store.submitBatch(.sample(names, token: "once")) } }
                return try await group.reduce(into: []) { $0.append($1) }
            }
            #expect(Set(receipts.map(\.batch.id)).count == 1)
            #expect(receipts.count { $0.isNew } == 1)
            #expect(receipts.allSatisfy { $0.batch.total == 20 })
            #expect(try await stores[0].migrations(MigrationFilter(limit: 100)).count == 20)
            let sentence = await refusal(.tokenTaken) { try await stores[1].submitBatch(.sample(["s1"], token: "once")) }
            #expect(sentence.contains(receipts[0].batch.id.value))
            #expect(try await stores[2].batch(token: "once")?.batch.id == receipts[0].batch.id)
        }
    }

    @Test(arguments: Backend.available)
    func `three bad lines among a hundred thousand are named, and without them all are taken by one call`(_ backend: Backend) async throws {
        try await withStore(backend) { store in
            let count = BatchDraft.most
            try await store.addManyServers(count)
            var names = (1...count).map { "s\($0)" }
            for index in [17, 50_000, count - 1] { names[index] = "nosuch\(index)" }
            var draft = BatchDraft.sample(names, digest: "many")
            let refused = try await timed {
                do {
                    _ = try await store.submitBatch(draft)
                    Issue.record("taken")
                } catch let refusal as BatchRefusal {
                    #expect(refusal.flaws.map(\.line) == [18, 50_001, count])
                    #expect(refusal.flaws.map(\.id) == ["nosuch17", "nosuch50000", "nosuch\(count - 1)"])
                }
            }
            draft.skipsInvalid = true
            draft.maxParallel = 12
            var total = 0
            let taken = try await timed { total = try await store.submitBatch(draft).batch.total }
            #expect(total == count - 3)
            // Those that leave hosts without a slot are passed over, however many they are.
            try await store.database.write { try await $0.execute("UPDATE hosts SET outbound_slots = 0 WHERE id <> 'host-998'") }
            var passed: [Migration] = []
            let claimed = try await timed { passed = try await store.claims(10) }
            #expect(passed.map(\.source) == ["host-998", "host-998"])
            #expect(try await store.nextDueInMS() ?? 0 > 1000, "nothing more can begin")
            let batch = try await store.batch("b")
            #expect(try await store.counts(of: batch).states == [.pending: count - 3])
            print("100,000 lines: refused in \(refused), taken in \(taken), claimed past those that are held up in \(claimed)")
        }
    }
}
