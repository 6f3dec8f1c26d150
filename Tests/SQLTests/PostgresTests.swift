import Backends
import Foundation
import PostgreSQL
import SQL
import Synchronization
import Testing

/// What only a server that dies, a network that is cut and a second writer can bring about.
@Suite struct PostgresTests {
    /// Runs the body with so many databases over a new schema of a server.
    private func withClients(
        _ count: Int, of server: PostgresServer, connections: Int = 6, patience: Duration = .seconds(60),
        _ body: ([PostgresDatabase]) async throws -> Void
    ) async throws {
        let schema = try await server.makeSchema()
        var databases: [PostgresDatabase] = []
        for _ in 0..<count {
            databases.append(
                try await PostgresDatabase.open(server.url(schema: schema), connections: connections, patience: patience))
        }
        try await databases[0].write { try await $0.script("CREATE TABLE t (id BIGINT NOT NULL, n BIGINT NOT NULL)") }
        let outcome: Result<Void, any Error>
        do { outcome = .success(try await body(databases)) } catch { outcome = .failure(error) }
        for database in databases { await database.close() }
        try await server.dropSchema(schema)
        try outcome.get()
    }

    @Test func `a server that dies again and again loses no acknowledged transaction, and none is done twice`() async throws {
        try await PostgresServer.with { server in
            try await withClients(4, of: server) { databases in
                try await databases[0].write { try await $0.execute("INSERT INTO t VALUES (0, 0)") }
                let tally = Tally()
                try await withThrowingTaskGroup(of: Void.self) { group in
                    for writer in 0..<24 {
                        group.addTask {
                            while let id = tally.next() {
                                // The key is no key: a transaction that is done twice leaves two rows.
                                try await databases[writer % 4].write { transaction in
                                    try await transaction.execute("INSERT INTO t VALUES (\(id), 1)")
                                    try await transaction.execute("UPDATE t SET n = n + 1 WHERE id = 0")
                                }
                                tally.acknowledge(id)
                            }
                        }
                    }
                    for round in 0..<4 {
                        try await tally.further(50)
                        if round % 2 == 0 { try await server.stopImmediately() } else { try await server.kill() }
                        try await server.startAgain()
                    }
                    try await tally.further(50)
                    tally.end()
                    try await group.waitForAll()
                }
                let count = Int64(tally.acknowledged.count)
                #expect(count == tally.begun)
                let ids = try await databases[1].read { try await $0.query("SELECT id FROM t WHERE id > 0").map { try $0.integer("id") } }
                #expect(Int64(ids.count) == count)
                #expect(Set(ids) == tally.acknowledged)
                #expect(try await databases[2].integer("SELECT n FROM t WHERE id = 0") == count)
            }
        }
    }

    @Test(arguments: [Relay.Cut.before, .after])
    func `a commit whose answer is lost is looked for, and done once`(_ cut: Relay.Cut) async throws {
        let server = try await PostgresServer.shared()
        try await withFolder { folder in
            let relay = try Relay(folder: folder, to: server.folder)
            defer { relay.close() }
            let schema = try await server.makeSchema()
            let database = try await PostgresDatabase.open(server.url(schema: schema, folder: folder), connections: 4)
            try await database.write { try await $0.script("CREATE TABLE t (id BIGINT NOT NULL, n BIGINT NOT NULL)") }
            for id in 1...10 {
                relay.cutNext(cut)
                let runs = Mutex(0)
                try await database.write { transaction in
                    runs.withLock { $0 += 1 }
                    try await transaction.execute("INSERT INTO t VALUES (\(id), 1)")
                }
                #expect(relay.count == id)
                #expect(runs.withLock { $0 } == (cut == .before ? 2 : 1))
                #expect(try await database.integer("SELECT count(*) FROM t WHERE id = \(id)") == 1)
            }
            await database.close()
            try await server.dropSchema(schema)
        }
    }

    @Test func `sessions that an administrator ends are replaced unseen`() async throws {
        let server = try await PostgresServer.shared()
        try await withClients(1, of: server) { databases in
            let database = databases[0]
            let name: SQLStatement = "SELECT pg_backend_pid() AS pid"
            for id in 1...5 {
                let reader = try await database.integer(name) ?? 0
                try await database.write { transaction in
                    try await transaction.execute("INSERT INTO t VALUES (\(id), 1)")
                }
                let writer = try await database.write { try await $0.query(name)[0].integer("pid") }
                try await server.sql("SELECT pg_terminate_backend(\(reader)), pg_terminate_backend(\(writer))")
                #expect(try await database.integer("SELECT count(*) FROM t") == Int64(id))
                #expect(try await database.integer(name) != reader)
                // Also in the middle of one.
                let runs = Mutex(0)
                try await database.write { transaction in
                    let pid = try await transaction.query(name)[0].integer("pid")
                    let run = runs.withLock { runs in
                        runs += 1
                        return runs
                    }
                    if run == 1 { try await server.sql("SELECT pg_terminate_backend(\(pid))") }
                    try await transaction.execute("UPDATE t SET n = n + 1 WHERE id = \(id)")
                }
                #expect(runs.withLock { $0 } == 2)
                #expect(try await database.integer("SELECT n FROM t WHERE id = \(id)") == 2)
            }
        }
    }

    @Test func `transactions that lock each other out are both done in the end`() async throws {
        try await withClients(2, of: PostgresServer.shared()) { databases in
            try await databases[0].write { try await $0.execute("INSERT INTO t VALUES (1, 0), (2, 0)") }
            try await withThrowingTaskGroup(of: Void.self) { group in
                for task in 0..<6 {
                    group.addTask {
                        try await databases[task % 2].write { transaction in
                            for id in task % 2 == 0 ? [1, 2] : [2, 1] {
                                try await transaction.execute("UPDATE t SET n = n + 1 WHERE id = \(id)")
                            }
                        }
                    }
                }
                try await group.waitForAll()
            }
            #expect(try await databases[0].integer("SELECT sum(n) FROM t") == 12)
        }
    }

    @Test func `a body that goes on after an error is not taken for done`() async throws {
        try await withClients(1, of: PostgresServer.shared()) { databases in
            await refusal(.constraint("n")) {
                try await databases[0].write { transaction in
                    try await transaction.execute("INSERT INTO t VALUES (1, 1)")
                    _ = try? await transaction.execute("INSERT INTO t VALUES (2, NULL)")
                }
            }
            let count = try await databases[0].integer("SELECT count(*) FROM t")
            #expect(count == 0)
        }
    }

    @Test func `a serialization failure runs the whole transaction again`() async throws {
        try await withClients(1, of: PostgresServer.shared()) { databases in
            let runs = Mutex(0)
            try await databases[0].write { transaction in
                let run = runs.withLock { runs in
                    runs += 1
                    return runs
                }
                try await transaction.execute("INSERT INTO t VALUES (\(run), 1)")
                if run < 3 {
                    try await transaction.script("DO $$ BEGIN RAISE EXCEPTION 'lost' USING ERRCODE = 'serialization_failure'; END $$")
                }
            }
            #expect(try await databases[0].integer("SELECT sum(id) FROM t") == 3)
        }
    }

    @Test func `who finds no free session in time is told, and who is cancelled leaves the queue`() async throws {
        try await withClients(1, of: PostgresServer.shared(), connections: 1, patience: .milliseconds(300)) { databases in
            let (inside, release) = (Door(), Door())
            let holder = Task {
                try await databases[0].write { transaction in
                    try await transaction.execute("INSERT INTO t VALUES (1, 1)")
                    await inside.open()
                    await release.pass()
                }
            }
            await inside.pass()
            await refusal(.connection) { try await databases[0].write { try await $0.execute("INSERT INTO t VALUES (2, 2)") } }
            let waiting = Task { try await databases[0].write { try await $0.execute("INSERT INTO t VALUES (4, 4)") } }
            waiting.cancel()
            await #expect(throws: CancellationError.self) { try await waiting.value }
            await release.open()
            try await holder.value
            #expect(try await databases[0].integer("SELECT sum(id) FROM t") == 1)
        }
    }

    @Test func `values of another kind than before, and many of them, are taken by the same statement`() async throws {
        try await withClients(1, of: PostgresServer.shared()) { databases in
            try await databases[0].read { transaction in
                for value: SQLValue in [.null, .text("a"), .null, .integer(7), .text("b"), .real(1.5), .null] {
                    let seen = try await transaction.query("SELECT \(value) AS v")[0].value("v")
                    #expect(seen == value)
                }
                let many = (0..<10_000).map { "\($0)" }
                #expect(try await transaction.query("SELECT 1 AS one WHERE '9999' IN (\(list: many))").count == 1)
                // More statements than a session keeps.
                for number in 0..<500 {
                    let row = try await transaction.query(SQLStatement(parts: [.text("SELECT \(number) AS n")]))[0]
                    #expect(try row.integer("n") == Int64(number))
                }
            }
        }
    }

    @Test func `of several hosts the one is taken that answers`() async throws {
        let server = try await PostgresServer.shared()
        let database = try await PostgresDatabase.open(
            "postgres:///postgres?host=/nowhere,\(server.folder)&user=godwit&target_session_attrs=read-write")
        #expect(try await database.integer("SELECT 1") == 1)
        await database.close()
    }

    @Test func `a database that cannot be reached is told with its place and without its password`() async throws {
        let error = await refusal(.connection) {
            try await PostgresDatabase.open("postgres://ada:secret@/fleet?host=/nowhere&port=5")
        }
        #expect(error?.message.contains("postgres:///nowhere/fleet") == true && error?.message.contains("secret") == false)
        let flaw = await refusal(.connection) { try await PostgresDatabase.open("postgres://one/two?nosuch=3") }
        #expect(flaw?.message.contains("nosuch") == true)
    }
}
