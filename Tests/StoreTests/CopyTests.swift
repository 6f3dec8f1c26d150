import Backends
import Fleet
import SQL
import Store
import StoreCopy
import Testing

@Suite struct CopyTests {
    /// A store with something in every table. Returns a migration that is under way in it.
    private func fill(_ store: Store) async throws -> Migration {
        let (one, two) = (try await store.addHost("one"), try await store.addHost("two"))
        let moved = try await store.addServer("müde", on: one)
        let group = try await store.createGroup(name: "web", policy: .apart)
        _ = try await store.addToGroup("web", server: moved.id)
        _ = try await store.addToGroup(group.id.value, server: store.addServer("b", on: one).id)
        let switching = try await store.bring(store.claim(moved), toSwitchingOn: two)
        try await store.advance(switching, to: .ready) { change in
            change.placement = two.id
            change.serverStatus = .running
            change.journal = [JournalEntry(attempt: 1, step: "switch", position: 0, status: .done, output: "{}")]
            change.cleanups = [
                Cleanup(
                    id: "c1", kind: .source, migration: switching.id, server: moved.id, host: one.id, attempt: 1, epoch: switching.epoch,
                    dueAt: Timestamp(milliseconds: 0))
            ]
        }
        try await store.fail(store.advance(store.claim(store.addServer("c", on: one)), to: .scheduling))
        _ = try await store.setQueueLimit(9, actor: "ada")
        try await store.addServers(["e", "f"], on: one)
        _ = try await store.submitBatch(
            .sample(["e", "f", "nosuch"], token: "t", maxParallel: 1, maxFailures: .percent(50), skipsInvalid: true))
        return try await store.bring(store.claim(store.addServer("d", on: one)), toSwitchingOn: two)
    }

    @Test(arguments: [(Backend.sqlite, Backend.postgres), (.postgres, .sqlite)])
    func `a store goes on in another one where it was left`(_ from: Backend, _ to: Backend) async throws {
        try await withStore(from) { old in
            let underway = try await fill(old)
            try await to.withDatabases(1) { databases in
                let tables = try await StoreCopy(from: old.database, to: databases[0]).run()
                let rows = Dictionary(uniqueKeysWithValues: tables.map { ($0.name, $0.rows) })
                #expect(rows["servers"] == 6 && rows["migrations"] == 5 && rows["server_disks"] == 6 && rows["reservations"] == 1)
                #expect(!rows.values.contains(0), "\(rows)")
                let new = try await Store(databases[0])
                #expect(try await new.hostLoads() == old.hostLoads())
                #expect(try await new.servers(ServerFilter()) == old.servers(ServerFilter()))
                #expect(try await new.groups() == old.groups())
                #expect(try await new.migrations(MigrationFilter()) == old.migrations(MigrationFilter()))
                #expect(try await new.cleanups() == old.cleanups())
                #expect(try await new.batches() == old.batches())
                #expect(try await new.queueState() == old.queueState())
                for migration in try await old.migrations(MigrationFilter()) {
                    #expect(try await new.history(of: migration.id) == old.history(of: migration.id))
                    #expect(try await new.journal(of: migration.id) == old.journal(of: migration.id))
                }
                // The rules hold there, and the history goes on where it was.
                await breach("transitions_append_only", of: new, "DELETE FROM transitions")
                #expect(try await new.verifyHistory() == old.verifyHistory())
                #expect(try await new.verifyHistory().flaws == [])
                let before = try await new.history(of: underway.id)
                let ready = try await new.advance(underway, to: .ready) { change in
                    change.placement = underway.target
                    change.serverStatus = .running
                }
                #expect(ready.state == .ready)
                let after = try await new.history(of: underway.id)
                #expect(after.count == before.count + 1 && after.last.map { $0.sequence > (before.last?.sequence ?? 0) } == true)
            }
        }
    }

    @Test func `nothing is copied over anything, and nothing out of an older store or an unknown table`() async throws {
        try await withStores(.sqlite, 1) { stores in
            await #expect {
                try await Backend.sqlite.withDatabases(1) { _ = try await StoreCopy(from: $0[0], to: stores[0].database).run() }
            } throws: { "\($0)".contains("source is empty") }
            _ = try await fill(stores[0])
            try await withStore(.postgres) { other in
                _ = try await other.addHost("there")
                await #expect { try await StoreCopy(from: stores[0].database, to: other.database).run() } throws: {
                    "\($0)".contains("target is not empty: its table hosts")
                }
                #expect(try await other.hosts().map(\.name) == ["there"])
            }
            try await Backend.postgres.withDatabases(1) { databases in
                try await stores[0].database.write { try await $0.script("CREATE TABLE more (n INTEGER)") }
                await #expect { try await StoreCopy(from: stores[0].database, to: databases[0]).run() } throws: {
                    "\($0)".contains("a table more")
                }
            }
        }
    }
}
