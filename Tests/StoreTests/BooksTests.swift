import Backends
import Fleet
import SQL
import Store
import Testing

@Suite struct BooksTests {
    @Test(arguments: Backend.available)
    func `the books tell hosts, servers, what is under way and who holds it, and finished ones that were asked for`(
        _ backend: Backend
    ) async throws {
        try await withStore(backend) { store in
            let (one, two) = (try await store.addHost("one"), try await store.addHost("two"))
            let web = try await store.addServer("web", on: one)
            let failed = try await store.fail(try await store.claim(web))
            let held = try await store.claim(web, worker: "w2", leaseMS: 30_000)
            let books = try await store.books(finished: [failed.id, held.id, "none"])
            #expect(books.hosts.map(\.id) == [one.id, two.id] && books.servers.map(\.id) == [web.id])
            #expect(books.migrations.map(\.id) == [held.id])
            let lease = try #require(books.leases[held.id])
            #expect(lease.owner == "w2" && (20_000...30_000).contains(lease.until - books.now))
            #expect(books.finished.keys.sorted { $0.value < $1.value } == [failed.id])
            #expect(books.cleanups == [] && books.leaked.isEmpty && books.lastChanges.isEmpty)
        }
    }

    @Test(arguments: Backend.available)
    func `a cleanup is ordered once, for what is finished, and its history tells who asked`(_ backend: Backend) async throws {
        try await withStore(backend) { store in
            let (one, two) = (try await store.addHost("one"), try await store.addHost("two"))
            let web = try await store.addServer("web", on: one)
            let migration = try await store.claim(web)
            func cleanup(_ id: String) -> Cleanup {
                Cleanup(
                    id: id, kind: .target, migration: migration.id, server: web.id, host: two.id, attempt: 1, epoch: Epoch(9), dueAt: .now)
            }
            #expect(try await !store.orderCleanup(cleanup("a"), actor: "ada", why: "left"), "it is under way")
            _ = try await store.fail(migration)
            #expect(try await store.orderCleanup(cleanup("b"), actor: "ada", why: "left"))
            #expect(try await !store.orderCleanup(cleanup("c"), actor: "ada", why: "left"), "it is ordered")
            #expect(try await store.cleanups().map(\.id) == ["b"])
            #expect(try await store.claimCleanups(worker: "w1", leaseMS: 1000, limit: 9).map(\.epoch) == [Epoch(9)], "due at once")
            try await store.finishCleanup("b")
            #expect(try await store.orderCleanup(cleanup("d"), actor: "bob", why: "again"), "it was done, and something is there again")
            let rows = try await store.history(HistoryFilter(migration: migration.id), newestFirst: false, limit: 100)
            #expect(rows.suffix(2).map(\.actor) == ["ada", "bob"])
            #expect(rows.last?.reason == Reason(.cleanupOrdered, "again") && rows.last?.step == "doctor" && rows.last?.to == .failed)
            #expect(try await store.verifyHistory().flaws.isEmpty)
        }
    }

    @Test(arguments: Backend.available)
    func `only what is over lets go of its room`(_ backend: Backend) async throws {
        try await withStore(backend) { store in
            let one = try await store.addHost("one")
            let web = try await store.addServer("web", on: one)
            let migration = try await store.claim(web)
            #expect(try await !store.releaseLeaked(migration.id, actor: "ada", why: "held"))
            _ = try await store.fail(migration)
            #expect(try await !store.releaseLeaked(migration.id, actor: "ada", why: "held"), "it holds nothing")
            #expect(try await store.books().leaked.isEmpty)
        }
    }
}
