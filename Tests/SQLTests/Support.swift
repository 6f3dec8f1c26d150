import Foundation
import SQL
import SQLite
import Testing

/// Runs the body with the path of a database that is not there yet, and removes whatever comes to be.
func withPath(_ body: (String) async throws -> Void) async throws {
    let folder = NSTemporaryDirectory() + "godwit-" + UUID().uuidString
    try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
    let outcome: Result<Void, any Error>
    do { outcome = .success(try await body(folder + "/test.db")) } catch { outcome = .failure(error) }
    try FileManager.default.removeItem(atPath: folder)
    try outcome.get()
}

/// Runs the body with so many databases over one new file, each with its own connections, as processes have them. The file has a table
/// `t (id INTEGER PRIMARY KEY, n INTEGER NOT NULL)`.
func withDatabases(_ count: Int, _ body: ([SQLiteDatabase]) async throws -> Void) async throws {
    try await withPath { path in
        var databases: [SQLiteDatabase] = []
        for _ in 0..<count { databases.append(try await SQLiteDatabase.open(path: path)) }
        try await databases[0].write { try await $0.script("CREATE TABLE t (id INTEGER PRIMARY KEY, n INTEGER NOT NULL) STRICT") }
        let outcome: Result<Void, any Error>
        do { outcome = .success(try await body(databases)) } catch { outcome = .failure(error) }
        for database in databases { await database.close() }
        try outcome.get()
    }
}

func withDatabase(_ body: (SQLiteDatabase) async throws -> Void) async throws {
    try await withDatabases(1) { try await body($0[0]) }
}

extension SQLDatabase {
    func integer(_ statement: SQLStatement) async throws -> Int64? {
        try await read { transaction in
            guard let value = try await transaction.query(statement).first?.values.first else { return nil }
            guard case .integer(let integer) = value else { return nil }
            return integer
        }
    }
}

/// Expects a refusal with this code, and returns it.
@discardableResult
func refusal<T>(
    _ code: SQLError.Code, sourceLocation: SourceLocation = #_sourceLocation, _ body: () async throws -> T
) async -> SQLError? {
    do {
        _ = try await body()
        Issue.record("accepted, where \(code) was expected", sourceLocation: sourceLocation)
    } catch let error as SQLError {
        #expect(error.code == code, "\(error)", sourceLocation: sourceLocation)
        return error
    } catch {
        Issue.record("\(error), where \(code) was expected", sourceLocation: sourceLocation)
    }
    return nil
}

/// Something that a test waits for, opened once.
actor Door {
    private var isOpen = false
    private var waiters: [CheckedContinuation<Void, Never>] = []

    func open() {
        isOpen = true
        for waiter in waiters { waiter.resume() }
        waiters = []
    }

    func pass() async {
        if !isOpen { await withCheckedContinuation { waiters.append($0) } }
    }
}

struct Deliberate: Error {}
