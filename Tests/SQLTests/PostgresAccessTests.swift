import Backends
import Foundation
import PostgreSQL
import SQL
import Synchronization
import Testing

/// The ways to a server beside a socket of its own: through a pooler, encrypted, and to whichever of several takes writes.
@Suite struct PostgresAccessTests {
    /// Runs the body with a database that has a table `t` of two integers.
    private func withTable(_ url: String, connections: Int = 6, _ body: (PostgresDatabase) async throws -> Void) async throws {
        let database = try await PostgresDatabase.open(url, connections: connections, patience: .seconds(60))
        let outcome: Result<Void, any Error>
        do {
            try await database.write { try await $0.script("CREATE TABLE t (id BIGINT NOT NULL, n BIGINT NOT NULL)") }
            outcome = .success(try await body(database))
        } catch {
            outcome = .failure(error)
        }
        await database.close()
        try outcome.get()
    }

    @Test func `a pooler that hands out sessions by the transaction is borne, with more clients than it has sessions`() async throws {
        let server = try await PostgresServer.shared()
        let schema = try await server.makeSchema()
        try await PgBouncer.with(server, schema: schema, sessions: 3) { pooler in
            try await withTable(pooler.url, connections: 9) { one in
                let other = try await PostgresDatabase.open(pooler.url, connections: 9, patience: .seconds(60))
                try await one.write { try await $0.execute("INSERT INTO t VALUES (0, 0)") }
                // A commit of another process is seen, though none of its notifications arrives.
                let changes = other.changes()
                let seen = Task {
                    for await _ in changes where try await other.integer("SELECT count(*) FROM t WHERE id = 1") == 1 { return true }
                    return false
                }
                let all = Int64(200)
                try await withThrowingTaskGroup(of: Void.self) { group in
                    let tally = Tally(atMost: all)
                    for task in 0..<12 {
                        let database = task % 2 == 0 ? one : other
                        group.addTask {
                            while let id = tally.next() {
                                try await database.write { transaction in
                                    try await transaction.execute("INSERT INTO t VALUES (\(id), 1)")
                                    try await transaction.execute("UPDATE t SET n = n + 1 WHERE id = 0")
                                }
                                let count = try await database.integer("SELECT count(*) FROM t WHERE id = \(id)")
                                #expect(count == 1)
                            }
                        }
                    }
                    try await group.waitForAll()
                }
                #expect(try await other.integer("SELECT n FROM t WHERE id = 0") == all)
                #expect(try await other.integer("SELECT count(DISTINCT id) FROM t WHERE id > 0") == all)
                #expect(try await seen.value)
                await other.close()
            }
        }
        try await server.dropSchema(schema)
    }

    @Test func `a connection is encrypted and its server verified, where the string says so`() async throws {
        let port = try freePort()
        try await PostgresServer.with(port: port) { server in
            let base = "postgres://godwit@localhost:\(port)/postgres"
            try await withTable("\(base)?sslmode=verify-full&sslrootcert=\(server.certificate)") { database in
                let isEncrypted = try await database.integer(
                    "SELECT CASE WHEN ssl THEN 1 ELSE 0 END FROM pg_stat_ssl WHERE pid = pg_backend_pid()")
                #expect(isEncrypted == 1)
            }
            try await PostgresServer.with(port: freePort()) { foreign in
                let stranger = await refusal(.connection) {
                    try await PostgresDatabase.open("\(base)?sslmode=verify-full&sslrootcert=\(foreign.certificate)")
                }
                #expect(stranger?.message.contains("certificate verify failed") == true, "\(stranger?.message ?? "")")
            }
            let plain = await refusal(.connection) { try await PostgresDatabase.open("\(base)?sslmode=disable") }
            #expect(plain?.message.contains("no encryption") == true, "\(plain?.message ?? "")")
        }
    }

    @Test func `when a server dies its standby takes over with all that was acknowledged, and none is done twice`() async throws {
        try await PostgresServer.with { server in
            let schema = try await server.makeSchema()
            try await server.withStandby { standby in
                // The standby first: it is passed over as long as it takes no writes.
                let url = server.url(schema: schema, folder: "\(standby.folder),\(server.folder)")
                try await withTable(url) { database in
                    try await database.write { try await $0.execute("INSERT INTO t VALUES (0, 0)") }
                    let tally = Tally()
                    try await withThrowingTaskGroup(of: Void.self) { group in
                        for _ in 0..<8 {
                            group.addTask {
                                while let id = tally.next() {
                                    try await database.write { transaction in
                                        // The key is no key: a transaction that is done twice leaves two rows.
                                        try await transaction.execute("INSERT INTO t VALUES (\(id), 1)")
                                        try await transaction.execute("UPDATE t SET n = n + 1 WHERE id = 0")
                                    }
                                    tally.acknowledge(id)
                                }
                            }
                        }
                        try await tally.further(100)
                        try await server.kill()
                        try await standby.promote()
                        try await standby.sql("ALTER SYSTEM RESET synchronous_standby_names")
                        try await standby.sql("SELECT pg_reload_conf()")
                        try await tally.further(100)
                        tally.end()
                        try await group.waitForAll()
                    }
                    let ids = try await database.read { try await $0.query("SELECT id FROM t WHERE id > 0").map { try $0.integer("id") } }
                    #expect(Set(ids) == tally.acknowledged && Int64(ids.count) == tally.begun)
                    #expect(try await database.integer("SELECT n FROM t WHERE id = 0") == tally.begun)
                }
            }
        }
    }
}
