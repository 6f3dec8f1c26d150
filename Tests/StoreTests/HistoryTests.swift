import Backends
import Fleet
import Foundation
import SQL
import Store
import Testing

@Suite struct HistoryTests {
    /// Three servers that went from one host to another: live, live and failed, cold.
    private func tell(_ store: Store) async throws -> (one: Fleet.Host, two: Fleet.Host, migrations: [Migration]) {
        let (one, two) = (try await store.addHost("one"), try await store.addHost("two"))
        var ended: [Migration] = []
        for (name, fails) in [("web", false), ("db", true)] {
            let claimed = try await store.claim(try await store.addServer(name, on: one))
            let switching = try await store.bring(claimed, toSwitchingOn: two)
            if fails {
                ended.append(try await store.fail(switching))
            } else {
                ended.append(
                    try await store.advance(switching, to: .ready) { change in
                        change.migration.blackout = Blackout(
                            lastPassUS: 1, diskDrainUS: 2, deviceStateUS: 3, handoverUS: 4, resumeUS: 5, totalUS: 15)
                        change.migration.progress = Fleet.Progress(diskTotal: 100, diskDone: 100, memoryTransferred: 50)
                        change.placement = two.id
                        change.serverStatus = .running
                    })
            }
        }
        return (one, two, ended)
    }

    @Test(arguments: Backend.available)
    func `questions find what they ask for, page by page, either way`(_ backend: Backend) async throws {
        try await withStore(backend) { store in
            let (one, two, migrations) = try await tell(store)
            let all = try await store.history(HistoryFilter(), newestFirst: false, limit: 1000)
            #expect(all.map(\.sequence) == all.map(\.sequence).sorted() && all.count > 10)
            for newestFirst in [true, false] {
                var paged: [Transition] = []
                var place: Int64?
                while case let page = try await store.history(HistoryFilter(), newestFirst: newestFirst, after: place, limit: 3),
                    let last = page.last
                {
                    paged += page
                    place = last.sequence
                }
                #expect(paged == (newestFirst ? all.reversed() : all))
            }
            let count = { (filter: HistoryFilter) async throws -> Int in
                let rows = try await store.history(filter, limit: 1000)
                return rows.count
            }
            #expect(try await count(HistoryFilter(server: migrations[0].server)) == (all.count { $0.server == migrations[0].server }))
            #expect(try await count(HistoryFilter(host: one.id)) == all.count)
            #expect(try await count(HistoryFilter(host: two.id)) == (all.count { $0.target == two.id }))
            #expect(try await count(HistoryFilter(host: HostID("nobody"))) == 0)
            #expect(try await count(HistoryFilter(migration: migrations[1].id, states: [.failed])) == 1)
            #expect(try await count(HistoryFilter(modes: [.cold, .rescue])) == 0)
            #expect(try await count(HistoryFilter(modes: [.live])) == all.count)
            #expect(try await count(HistoryFilter(reasons: [.targetLost])) == (all.count { $0.reason?.code == .targetLost }))
            #expect(try await count(HistoryFilter(actor: "ada")) == 2)
            let middle = all[4].at
            #expect(try await count(HistoryFilter(since: middle)) == (all.count { $0.at >= middle }))
            #expect(try await count(HistoryFilter(until: middle)) == (all.count { $0.at < middle }))
        }
    }

    @Test(arguments: Backend.available)
    func `statistics count and measure by what is asked for`(_ backend: Backend) async throws {
        try await withStore(backend) { store in
            _ = try await tell(store)
            let whole = try #require(try await store.historyStatistics(by: [], HistoryFilter()).first)
            #expect(whole.key == [] && whole.count == 2 && whole.ready == 1 && whole.failed == 1)
            #expect(whole.blackoutUS == .init(p50: 15, p95: 15, p99: 15))
            #expect(whole.bytes == .init(p50: 150, p95: 150, p99: 150))
            #expect(whole.totalMS != nil)
            let byState = try await store.historyStatistics(by: [.state, .reason], HistoryFilter())
            #expect(byState.map(\.key) == [["failed", "target-lost"], ["ready", nil]])
            #expect(byState.map(\.count) == [1, 1])
            #expect(byState[0].totalMS == nil)
            let byHost = try await store.historyStatistics(by: [.source, .target, .mode], HistoryFilter())
            #expect(byHost.map(\.key) == [["one", "two", "live"]])
            let byDay = try await store.historyStatistics(by: [.day], HistoryFilter(states: [.ready]))
            #expect(byDay.count == 1 && byDay[0].key[0]?.count == 10)
            #expect(try await store.historyStatistics(by: [.day], HistoryFilter(until: Timestamp(milliseconds: 1))) == [])
            #expect(try await store.historyStatistics(by: [], HistoryFilter(actor: "nobody")) == [])
        }
    }

    @Test(arguments: Backend.available)
    func `percentiles are by nearest rank`(_ backend: Backend) async throws {
        try await withStore(backend) { store in
            let (one, two) = (try await store.addHost("one"), try await store.addHost("two"))
            for number in 1...20 {
                let claimed = try await store.claim(try await store.addServer("vm\(number)", on: number % 2 == 0 ? one : two, vcpus: 1))
                let switching = try await store.bring(claimed, toSwitchingOn: number % 2 == 0 ? two : one)
                try await store.advance(switching, to: .ready) { change in
                    change.migration.blackout = Blackout(
                        lastPassUS: 0, diskDrainUS: 0, deviceStateUS: 0, handoverUS: 0, resumeUS: 0, totalUS: Int64(number))
                    change.placement = number % 2 == 0 ? two.id : one.id
                    change.serverStatus = .running
                }
            }
            let whole = try #require(try await store.historyStatistics(by: [], HistoryFilter()).first)
            #expect(whole.blackoutUS == .init(p50: 10, p95: 19, p99: 20))
        }
    }

    @Test(arguments: Backend.available)
    func `every query that the README shows runs, and finds what is there`(_ backend: Backend) async throws {
        let readme = URL(filePath: #filePath).deletingLastPathComponent().appending(path: "../../README.md")
        let text = try String(contentsOf: readme, encoding: .utf8)
        let section = try #require(text.components(separatedBy: "\n## History\n").last?.components(separatedBy: "\n## ").first)
        let block = try #require(section.components(separatedBy: "```sql\n").dropFirst().first?.components(separatedBy: "```").first)
        let queries = block.split(separator: "\n").filter { !$0.hasPrefix("--") }.map {
            $0.replacing("2026-03-01", with: "2020-01-01").replacing("'web1'", with: "'web'")
        }
        #expect(queries.count == 5)
        try await withStore(backend) { store in
            _ = try await tell(store)
            for query in queries {
                let rows = try await store.database.read { try await $0.query(SQLStatement(stringLiteral: String(query))) }
                #expect(!rows.isEmpty, "\(query)")
            }
        }
    }

    // MARK: tampering

    /// As somebody does who has the database's password.
    private func tamper(_ store: Store, _ statement: SQLStatement) async throws {
        try await store.database.write { transaction in
            for (trigger, table) in [
                ("transitions_not_updated", "transitions"), ("transitions_not_deleted", "transitions"),
                ("history_heads_grow", "history_heads"), ("history_heads_not_deleted", "history_heads"),
            ] {
                let place = store.database.dialect == .postgres ? " ON \(table)" : ""
                try await transaction.execute(SQLStatement(stringLiteral: "DROP TRIGGER IF EXISTS \(trigger)\(place)"))
            }
            try await transaction.execute(statement)
        }
    }

    @Test(arguments: Backend.available)
    func `what was not touched verifies, and each alteration is found`(_ backend: Backend) async throws {
        try await withStore(backend) { store in
            let (_, _, migrations) = try await tell(store)
            let clean = try await store.verifyHistory()
            #expect(clean.flaws == [] && clean.migrations == 2 && clean.unproven == 0)
            #expect(try await store.history(HistoryFilter(), limit: 1000).count == clean.rows)
            #expect(try await store.verifyHistory(of: migrations[0].id).migrations == 1)

            let (first, second) = (migrations[0].id.value, migrations[1].id.value)
            let story = try await store.history(of: migrations[0].id)
            try await tamper(store, "UPDATE transitions SET actor = 'somebody' WHERE seq = \(story[2].sequence)")
            var found = try await store.verifyHistory()
            #expect(found.flaws.map(\.kind) == [.altered] && found.flaws[0].sequence == story[2].sequence)
            try await tamper(store, "UPDATE transitions SET actor = 'w1' WHERE seq = \(story[2].sequence)")
            #expect(try await store.verifyHistory().flaws == [])

            try await tamper(store, "DELETE FROM transitions WHERE seq = \(story[1].sequence)")
            found = try await store.verifyHistory()
            #expect(found.flaws.map(\.kind) == [.altered, .missing] && found.flaws[0].sequence == story[2].sequence)

            let last = try #require(try await store.history(of: migrations[1].id).last)
            try await tamper(store, "DELETE FROM transitions WHERE seq = \(last.sequence)")
            found = try await store.verifyHistory(of: migrations[1].id)
            #expect(found.flaws.map(\.kind) == [.missing, .contradicted])

            try await tamper(store, "DELETE FROM transitions WHERE migration_id = \(second)")
            #expect(try await store.verifyHistory(of: migrations[1].id).flaws.map(\.kind) == [.missing])
            try await tamper(store, "DELETE FROM history_heads WHERE migration_id = \(first)")
            #expect(try await store.verifyHistory(of: migrations[0].id).flaws.map(\.kind).contains(.unknown))
        }
    }

    @Test(arguments: Backend.available)
    func `rows from before there were hashes prove nothing and are no flaw`(_ backend: Backend) async throws {
        try await withStore(backend) { store in
            let (_, _, migrations) = try await tell(store)
            try await tamper(store, "UPDATE transitions SET hash = NULL WHERE migration_id = \(migrations[0].id.value)")
            try await tamper(store, "DELETE FROM history_heads WHERE migration_id = \(migrations[0].id.value)")
            let found = try await store.verifyHistory()
            #expect(found.flaws == [])
            #expect(try await store.history(of: migrations[0].id).count == found.unproven)
        }
    }

    @Test(arguments: Backend.available)
    func `is verified over many pages`(_ backend: Backend) async throws {
        try await withStore(backend) { store in
            let host = try await store.addHost("one", facts: .sample(cpus: 100, memoryBytes: 1000 * gibibyte))
            for number in 0..<230 { _ = try await store.submit(try await store.addServer("vm\(number)", on: host)) }
            let found = try await store.verifyHistory()
            #expect(found.migrations == 230 && found.rows == 230 && found.flaws == [])
        }
    }

    @Test(arguments: Backend.available)
    func `those who write to one migration's history side by side wait for each other`(_ backend: Backend) async throws {
        try await withStores(backend, 4) { stores in
            let (_, two, migrations) = try await tell(stores[0])
            let (ready, count) = (migrations[0], 40)
            let before = try await stores[0].history(of: ready.id).count
            try await stores[0].database.write { transaction in
                for number in 0..<count {
                    try await transaction.execute(
                        """
                        INSERT INTO cleanups (id, kind, migration_id, server_id, host_id, attempt, epoch, due_at, created_at)
                        VALUES (\("c\(number)"), 'source', \(ready.id.value), \(ready.server.value), \(two.id.value), 1, 1, 0, 0)
                        """)
                }
            }
            try await withThrowingTaskGroup(of: Void.self) { group in
                for number in 0..<count {
                    group.addTask {
                        try await stores[number % 4].finishCleanup(
                            "c\(number)", note: MigrationChange.HistoryNote(from: .ready, actor: "w\(number)"))
                    }
                }
                try await group.waitForAll()
            }
            let story = try await stores[0].history(of: ready.id)
            #expect(story.count == before + count && Set(story.suffix(count).map(\.actor)).count == count)
            #expect(try await stores[0].verifyHistory().flaws == [])
        }
    }

    @Test func `PostgreSQL keeps a table a month, made before it is needed, and rules hold in each`() async throws {
        try await withStore(.postgres) { store in
            _ = try await tell(store)
            let tables = try await store.database.read { transaction in
                try await transaction.query(
                    """
                    SELECT CAST(c.relname AS TEXT) AS name FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
                    WHERE i.inhparent = 'transitions'::regclass ORDER BY 1
                    """
                ).map { try $0.text("name") }
            }
            #expect(tables.count == 2 && tables.allSatisfy { $0.hasPrefix("transitions_20") && $0.utf8.count == 18 }, "\(tables)")
            let part = SQLStatement(stringLiteral: tables[0])
            await breach("transitions_append_only", of: store, "DELETE FROM \(part)")
            await breach("transitions_append_only", of: store, "UPDATE \(part) SET actor = 'nobody'")
            await breach("transitions_append_only", of: store, "TRUNCATE \(part)")
            await breach("transitions_append_only", of: store, "TRUNCATE transitions")
        }
    }

    @Test(arguments: Backend.available)
    func `a history from before there were hashes is taken over as it was`(_ backend: Backend) async throws {
        try await backend.withDatabases(1) { databases in
            let schema = SchemaStep.all(for: databases[0].dialect)
            _ = try await Store(databases[0], schema: schema.filter { $0.number < 3 })
            try await databases[0].write { transaction in
                for (at, state) in [(1_700_000_000_000 as Int64, "pending"), (1_703_000_000_000, "failed")] {
                    try await transaction.execute(
                        """
                        INSERT INTO transitions (migration_id, server_id, at, to_state, direction, attempt, epoch, source_id, actor, numbers)
                        VALUES ('m', 's', \(at), \(state), 'forward', 0, 1, 'h', 'ada', '{}')
                        """)
                }
            }
            let store = try await Store(databases[0])
            let story = try await store.history(of: MigrationID("m"))
            #expect(story.map(\.to) == [.pending, .failed] && story.map(\.hash) == [nil, nil])
            #expect(try await store.verifyHistory() == HistoryVerification(migrations: 1, rows: 2, unproven: 2))
            let later = try await store.submit(store.addServer("new", on: store.addHost("one")))
            let first = try #require(try await store.history(of: later.id).first)
            #expect(first.sequence > story[1].sequence && first.hash?.utf8.count == 64)
        }
    }
}
