import Backends
import Foundation
import SQL
import SQLite
import Testing

@Suite struct TransactionTests {
    @Test(arguments: Backend.available)
    func `a body that throws leaves nothing`(_ backend: Backend) async throws {
        try await withDatabase(backend) { database in
            await #expect(throws: Deliberate.self) {
                try await database.write { transaction in
                    try await transaction.execute("INSERT INTO t VALUES (1, 1)")
                    throw Deliberate()
                }
            }
            #expect(try await database.integer("SELECT count(*) FROM t") == 0)
            try await database.write { try await $0.execute("INSERT INTO t VALUES (1, 2)") }
            #expect(try await database.integer("SELECT n FROM t") == 2)
        }
    }

    @Test(arguments: Backend.available)
    func `a body that is cancelled leaves nothing and lets the next one write`(_ backend: Backend) async throws {
        try await withDatabase(backend) { database in
            let inside = Door()
            let task = Task {
                try await database.write { transaction in
                    try await transaction.execute("INSERT INTO t VALUES (1, 1)")
                    await inside.open()
                    // Stands for what hangs: the cancellation ends it.
                    try await Task.sleep(for: .seconds(60))
                }
            }
            await inside.pass()
            task.cancel()
            await #expect(throws: CancellationError.self) { try await task.value }
            try await database.write { try await $0.execute("INSERT INTO t VALUES (2, 2)") }
            #expect(try await database.integer("SELECT sum(id) FROM t") == 2)
        }
    }

    /// The lock of a task and that of the queue are taken in one order only, whoever comes first.
    @Test(.timeLimit(.minutes(2)), arguments: Backend.available)
    func `who is cancelled in the moment of their turn holds up nobody`(_ backend: Backend) async throws {
        try await withDatabase(backend) { database in
            for _ in 0..<300 {
                await withTaskGroup(of: Void.self) { group in
                    for _ in 0..<24 {
                        group.addTask { _ = try? await database.integer("SELECT count(*) FROM t") }
                    }
                    // The first that is through has the others cancelled, while those before them give their sessions back.
                    await group.next()
                    group.cancelAll()
                }
            }
            let count = try await database.integer("SELECT count(*) FROM t")
            #expect(count == 0)
        }
    }

    @Test func `who is cancelled while waiting for the lock leaves the queue`() async throws {
        try await withDatabase(.sqlite) { database in
            let (inside, release) = (Door(), Door())
            let holder = Task {
                try await database.write { transaction in
                    await inside.open()
                    await release.pass()
                    try await transaction.execute("INSERT INTO t VALUES (1, 1)")
                }
            }
            await inside.pass()
            let waiting = Task { try await database.write { try await $0.execute("INSERT INTO t VALUES (2, 2)") } }
            waiting.cancel()
            await #expect(throws: CancellationError.self) { try await waiting.value }
            await release.open()
            try await holder.value
            #expect(try await database.integer("SELECT sum(id) FROM t") == 1)
        }
    }

    @Test(arguments: Backend.available)
    func `fifty writers at once lose nothing, and those that fail take back only their own`(_ backend: Backend) async throws {
        // Writers run side by side there: what one reads and then changes it must hold.
        let lock: SQLStatement = backend.dialect == .postgres ? "FOR UPDATE" : ""
        try await withDatabases(backend, 2) { databases in
            try await databases[0].write { try await $0.execute("INSERT INTO t VALUES (0, 0)") }
            try await withThrowingTaskGroup(of: Void.self) { group in
                for writer in 1...50 {
                    group.addTask {
                        for round in 1...10 {
                            let fails = (writer + round) % 3 == 0
                            do {
                                try await databases[writer % 2].write { transaction in
                                    let n = try await transaction.query("SELECT n FROM t WHERE id = 0 \(lock)")[0].integer("n")
                                    try await transaction.execute("UPDATE t SET n = \(n + 1) WHERE id = 0")
                                    try await transaction.execute("INSERT INTO t VALUES (\(writer * 100 + round), 1)")
                                    if fails { throw Deliberate() }
                                }
                                #expect(!fails)
                            } catch is Deliberate {
                                #expect(fails)
                            }
                        }
                    }
                }
                try await group.waitForAll()
            }
            let succeeded = (1...50).reduce(0) { sum, writer in sum + (1...10).count { (writer + $0) % 3 != 0 } }
            #expect(try await databases[1].integer("SELECT n FROM t WHERE id = 0") == Int64(succeeded))
            #expect(try await databases[1].integer("SELECT count(*) FROM t WHERE id > 0") == Int64(succeeded))
        }
    }

    @Test func `writers that wait at the same moment share a commit, and none is told before it`() async throws {
        try await withPath { path in
            let database = try await SQLiteDatabase.open(path: path, sharing: .seconds(30))
            let elsewhere = try await SQLiteDatabase.open(path: path)
            try await database.write { try await $0.script("CREATE TABLE t (id INTEGER PRIMARY KEY, n INTEGER NOT NULL) STRICT") }
            func logBytes() throws -> Int {
                try #require(FileManager.default.attributesOfItem(atPath: path + "-wal")[.size] as? Int)
            }
            let before = try logBytes()
            let (inside, release) = (Door(), Door())
            let first = Task {
                try await database.write { transaction in
                    await inside.open()
                    await release.pass()
                    try await transaction.execute("INSERT INTO t VALUES (0, 0)")
                }
            }
            await inside.pass()
            try await withThrowingTaskGroup(of: Void.self) { group in
                for id in 1...40 {
                    group.addTask {
                        try await database.write { try await $0.execute("INSERT INTO t VALUES (\(id), 0)") }
                        // Whoever is told can see it from elsewhere.
                        #expect(try await elsewhere.integer("SELECT count(*) FROM t WHERE id = \(id)") == 1)
                    }
                }
                await release.open()
                try await group.waitForAll()
            }
            try await first.value
            #expect(try await elsewhere.integer("SELECT count(*) FROM t") == 41)
            // All of the table is one page, and each commit appends it to the log: 4096 bytes and a head of 24.
            let commits = (try logBytes() - before) / 4120
            #expect((1...20).contains(commits))
            await elsewhere.close()
            await database.close()
        }
    }

    @Test(arguments: Backend.available)
    func `a reader keeps its view while others write`(_ backend: Backend) async throws {
        try await withDatabase(backend) { database in
            try await database.write { try await $0.execute("INSERT INTO t VALUES (1, 1)") }
            try await database.read { transaction in
                #expect(try await transaction.query("SELECT n FROM t")[0].integer("n") == 1)
                try await database.write { try await $0.execute("UPDATE t SET n = 2") }
                #expect(try await transaction.query("SELECT n FROM t")[0].integer("n") == 1)
            }
            #expect(try await database.integer("SELECT n FROM t") == 2)
        }
    }

    @Test(arguments: Backend.available)
    func `readers see nothing of a write that is not committed`(_ backend: Backend) async throws {
        try await withDatabase(backend) { database in
            try await database.write { transaction in
                try await transaction.execute("INSERT INTO t VALUES (1, 1)")
                #expect(try await database.integer("SELECT count(*) FROM t") == 0)
            }
            #expect(try await database.integer("SELECT count(*) FROM t") == 1)
        }
    }

    @Test(arguments: Backend.available)
    func `a reader cannot write`(_ backend: Backend) async throws {
        try await withDatabase(backend) { database in
            await refusal(.storage) { try await database.read { try await $0.execute("INSERT INTO t VALUES (1, 1)") } }
            let count = try await database.integer("SELECT count(*) FROM t")
            #expect(count == 0)
        }
    }

    @Test(arguments: Backend.available)
    func `more readers than connections take turns`(_ backend: Backend) async throws {
        try await withDatabase(backend) { database in
            try await withThrowingTaskGroup(of: Int64?.self) { group in
                for number in 0..<40 { group.addTask { try await database.integer("SELECT \(number)") } }
                var sum: Int64 = 0
                for try await number in group { sum += number ?? 0 }
                #expect(sum == 780)
            }
        }
    }

    @Test(arguments: Backend.available)
    func `a transaction that has ended takes no more statements`(_ backend: Backend) async throws {
        try await withDatabase(backend) { database in
            let leaked = try await database.write { $0 }
            await refusal(.statement) { try await leaked.execute("INSERT INTO t VALUES (1, 1)") }
            #expect(try await database.integer("SELECT count(*) FROM t") == 0)
        }
    }

    @Test(arguments: Backend.available)
    func `a write within a write is refused instead of waiting for itself`(_ backend: Backend) async throws {
        try await withDatabase(backend) { database in
            await refusal(.statement) {
                try await database.write { _ in
                    try await database.write { try await $0.execute("INSERT INTO t VALUES (1, 1)") }
                }
            }
            // A task begun in one may write after it.
            let after = Door()
            let later = try await database.write { _ in
                Task {
                    await after.pass()
                    try await database.write { try await $0.execute("INSERT INTO t VALUES (1, 1)") }
                }
            }
            await after.open()
            _ = try await later.value
        }
    }

    @Test func `a lock that another process keeps for too long is a conflict`() async throws {
        try await withPath { path in
            let holder = try await SQLiteDatabase.open(path: path)
            let other = try await SQLiteDatabase.open(path: path, patience: .milliseconds(20))
            try await holder.write { transaction in
                try await transaction.script("CREATE TABLE t (n INTEGER)")
                await refusal(.conflict) { try await other.write { try await $0.execute("DELETE FROM t") } }
            }
            try await other.write { try await $0.execute("INSERT INTO t VALUES (1)") }
            await other.close()
            await holder.close()
        }
    }

    @Test func `a full disk fails the transaction and leaves what was there`() async throws {
        try await withDatabase(.sqlite) { database in
            try await database.write { try await $0.execute("INSERT INTO t VALUES (1, 1)") }
            await refusal(.storage) {
                try await database.write { transaction in
                    _ = try await transaction.query("PRAGMA max_page_count = 1")
                    try await transaction.script("CREATE TABLE big (b BLOB)")
                    for _ in 0..<100 { try await transaction.execute("INSERT INTO big VALUES (zeroblob(4000))") }
                }
            }
            #expect(try await database.integer("SELECT count(*) FROM t") == 1)
            #expect(try await database.integer("SELECT count(*) FROM sqlite_schema WHERE name = 'big'") == 0)
        }
    }
}
