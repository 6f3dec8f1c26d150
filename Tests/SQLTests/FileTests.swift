import Backends
import Foundation
import SQL
import SQLite
import Testing

@Suite struct FileTests {
    @Test func `commits are synced, the log is a write-ahead log, foreign keys hold`() async throws {
        try await withDatabase(.sqlite) { database in
            let settings = try await database.write { transaction in
                var settings: [SQLValue] = []
                for name in ["synchronous", "journal_mode", "foreign_keys"] {
                    settings += try await transaction.query(SQLStatement(parts: [.text("PRAGMA \(name)")])).flatMap(\.values)
                }
                return settings
            }
            // 2 is FULL.
            #expect(settings == [.integer(2), .text("wal"), .integer(1)])
        }
    }

    @Test func `what was committed is there when the file is opened again`() async throws {
        try await withPath { path in
            let first = try await SQLiteDatabase.open(path: path)
            try await first.write { try await $0.script("CREATE TABLE t (n INTEGER); INSERT INTO t VALUES (5);") }
            await first.close()
            let second = try await SQLiteDatabase.open(path: path)
            #expect(try await second.integer("SELECT n FROM t") == 5)
            await second.close()
        }
    }

    @Test func `many may create the same file at the same moment`() async throws {
        try await withPath { path in
            try await withThrowingTaskGroup(of: SQLiteDatabase.self) { group in
                for _ in 0..<8 { group.addTask { try await SQLiteDatabase.open(path: path) } }
                for try await database in group { await database.close() }
            }
        }
    }

    @Test func `a file that cannot be opened is told by its path`() async throws {
        try await withPath { path in
            let error = await refusal(.storage) { try await SQLiteDatabase.open(path: path + "/none/test.db") }
            #expect(error?.message.contains(path + "/none/test.db") == true)
        }
    }

    @Test func `a file that is no database is refused and left as it was`() async throws {
        try await withPath { path in
            let content = Data(String(repeating: "This is not a database. ", count: 100).utf8)
            try content.write(to: URL(filePath: path))
            await refusal(.storage) { try await SQLiteDatabase.open(path: path) }
            #expect(try Data(contentsOf: URL(filePath: path)) == content)
        }
    }

    @Test func `the settings of somebody else's database are left alone`() async throws {
        try await withPath { path in
            let maker = try await SQLiteDatabase.open(path: path)
            try await maker.write { transaction in
                try await transaction.script("CREATE TABLE theirs (n INTEGER); PRAGMA application_id = 77;")
            }
            await maker.close()
            // Bytes 18 and 19 of the header: 1 says rollback journal, 2 write-ahead log.
            var content = try Data(contentsOf: URL(filePath: path))
            content[18] = 1
            content[19] = 1
            try content.write(to: URL(filePath: path))
            let database = try await SQLiteDatabase.open(path: path)
            #expect(try await database.integer("SELECT count(*) FROM theirs") == 0)
            await database.close()
            #expect(try Data(contentsOf: URL(filePath: path)) == content)
        }
    }

    @Test func `a database restored from a dump, which has lost the mark, is ours all the same`() async throws {
        try await withPath { path in
            let maker = try await SQLiteDatabase.open(path: path)
            try await maker.write { transaction in
                try await transaction.script("CREATE TABLE schema_versions (number INTEGER); PRAGMA application_id = 0;")
            }
            await maker.close()
            var content = try Data(contentsOf: URL(filePath: path))
            content[18] = 1
            content[19] = 1
            try content.write(to: URL(filePath: path))
            let database = try await SQLiteDatabase.open(path: path)
            let mode = try await database.read { try await $0.query("PRAGMA journal_mode").first?.values }
            #expect(mode == [.text("wal")])
            await database.close()
        }
    }

    @Test func `a closed database lets transactions under way end and refuses new ones`() async throws {
        try await withPath { path in
            let database = try await SQLiteDatabase.open(path: path)
            let (inside, release) = (Door(), Door())
            let writing = Task {
                try await database.write { transaction in
                    await inside.open()
                    await release.pass()
                    try await transaction.script("CREATE TABLE t (n INTEGER)")
                }
            }
            await inside.pass()
            let closing = Task { await database.close() }
            // Whether it comes to wait before the closing or after: it is refused, and does not wait for the one that is inside.
            await refusal(.connection) { try await database.write { try await $0.execute("INSERT INTO t VALUES (1)") } }
            await release.open()
            try await writing.value
            await closing.value
            await refusal(.connection) { try await database.read { try await $0.query("SELECT * FROM t") } }
            let again = try await SQLiteDatabase.open(path: path)
            #expect(try await again.integer("SELECT count(*) FROM t") == 0)
            await again.close()
        }
    }
}
