import Backends
import Foundation
import SQL
import SQLite
import Testing

/// Transactions of one process that wait at the same moment.
@Suite struct SharedCommitTests {
    @Test(arguments: Backend.available)
    func `one that breaks a rule amid others takes back only what is its own`(_ backend: Backend) async throws {
        try await withDatabase(backend) { database in
            try await database.write { try await $0.execute("INSERT INTO t VALUES (0, 0)") }
            try await withThrowingTaskGroup(of: Void.self) { group in
                for writer in 1...60 {
                    group.addTask {
                        let breaks = writer % 4 == 0
                        do {
                            try await database.write { transaction in
                                try await transaction.post("INSERT INTO t VALUES (\(writer * 10), 1)")
                                if breaks { try await transaction.post("INSERT INTO t VALUES (0, 9)") }
                                // A later statement that would hide the error of the one before, did anything hide it.
                                if writer % 8 == 0 { try await transaction.post("INSERT INTO t VALUES (\(writer * 10 + 1), 1)") }
                            }
                            #expect(!breaks)
                        } catch let error as SQLError {
                            #expect(breaks, "\(error)")
                            guard case .constraint = error.code else { throw error }
                        }
                    }
                }
                try await group.waitForAll()
            }
            #expect(try await database.integer("SELECT count(*) FROM t WHERE id > 0") == 45)
            #expect(try await database.integer("SELECT n FROM t WHERE id = 0") == 0)
        }
    }

    @Test(arguments: Backend.available)
    func `what is posted is there for the next statement, in its order`(_ backend: Backend) async throws {
        try await withDatabase(backend) { database in
            let seen = try await database.write { transaction in
                try await transaction.post("INSERT INTO t VALUES (1, 1)")
                try await transaction.post("UPDATE t SET n = n + 1 WHERE id = 1")
                let rows = try await transaction.queries(["SELECT n FROM t WHERE id = 1", "SELECT n + 1 AS n FROM t WHERE id = 1"])
                try await transaction.post("UPDATE t SET n = n * 10 WHERE id = 1")
                return try rows.map { try $0[0].integer("n") }
            }
            #expect(seen == [2, 3])
            #expect(try await database.integer("SELECT n FROM t WHERE id = 1") == 20)
        }
    }

    @Test(arguments: Backend.available)
    func `many that write all the time keep no other process out`(_ backend: Backend) async throws {
        try await withDatabases(backend, 2) { databases in
            let stop = Door()
            try await withThrowingTaskGroup(of: Void.self) { group in
                let many = Task {
                    try await withThrowingTaskGroup(of: Void.self) { group in
                        for writer in 1...16 {
                            group.addTask {
                                var round = 0
                                while !Task.isCancelled {
                                    round += 1
                                    let id = writer * 1_000_000 + round
                                    try await databases[0].write { try await $0.execute("INSERT INTO t VALUES (\(id), 1)") }
                                }
                            }
                        }
                        try await group.waitForAll()
                    }
                }
                group.addTask {
                    for turn in 1...5 {
                        let begun = ContinuousClock.now
                        try await databases[1].write { try await $0.execute("INSERT INTO t VALUES (\(-turn), 1)") }
                        #expect(ContinuousClock.now - begun < .seconds(20))
                    }
                    await stop.open()
                }
                await stop.pass()
                many.cancel()
                await #expect(throws: CancellationError.self) { try await many.value }
                try await group.waitForAll()
            }
            #expect(try await databases[0].integer("SELECT count(*) FROM t WHERE id < 0") == 5)
        }
    }

    /// Where the other process of the next test finds the database.
    private static let variable = "GODWIT_TEST_SHARED_COMMITS"

    @Test func `a process that is killed amid shared commits has lost none that it acknowledged, and left none half done`() async throws {
        try await withFolder { folder in
            setenv(Self.variable, folder, 1)
            await #expect(processExitsWith: .signal(SIGKILL)) { try await writeUntilKilled() }
            let told = try String(contentsOfFile: folder + "/acknowledged", encoding: .utf8).split(separator: "\n").compactMap { Int($0) }
            #expect(told.count >= 500)
            let database = try await SQLiteDatabase.open(path: folder + "/test.db")
            let found = try await database.read { transaction in
                try await transaction.query("SELECT id FROM t WHERE n = 1").map { Int(try $0.integer("id")) }
            }
            #expect(Set(told).subtracting(found).isEmpty)
            #expect(try await database.integer("SELECT count(*) FROM t WHERE n = 0") == Int64(found.count))
            await database.close()
        }
    }
}

/// Sixty-four at once write pairs of rows, tell each that was acknowledged, and the process dies among them.
private func writeUntilKilled() async throws {
    let folder = try #require(ProcessInfo.processInfo.environment["GODWIT_TEST_SHARED_COMMITS"])
    let database = try await SQLiteDatabase.open(path: folder + "/test.db")
    try await database.write { try await $0.script("CREATE TABLE t (id INTEGER NOT NULL, n INTEGER NOT NULL, PRIMARY KEY (id, n)) STRICT") }
    let file = open(folder + "/acknowledged", O_WRONLY | O_CREAT | O_APPEND, 0o600)
    try await withThrowingTaskGroup(of: Void.self) { group in
        for writer in 1...64 {
            group.addTask {
                for round in 1... {
                    let id = writer * 1_000_000 + round
                    try await database.write { transaction in
                        try await transaction.execute("INSERT INTO t VALUES (\(id), 0)")
                        try await transaction.execute("INSERT INTO t VALUES (\(id), 1)")
                    }
                    // One write is whole or not there, and outlives the process.
                    let line = Array("\(id)\n".utf8)
                    _ = write(file, line, line.count)
                }
            }
        }
        group.addTask {
            var status = stat()
            repeat {
                try await Task.sleep(for: .milliseconds(5))
                fstat(file, &status)
            } while status.st_size < 8 * 600
            kill(getpid(), SIGKILL)
        }
        try await group.waitForAll()
    }
}
