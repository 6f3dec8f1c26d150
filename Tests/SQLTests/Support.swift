import Backends
import SQL
import Testing

/// Runs the body with the path of a database that is not there yet, and removes whatever comes to be.
func withPath(_ body: (String) async throws -> Void) async throws {
    try await withFolder { try await body($0 + "/test.db") }
}

/// Runs the body with so many databases over one new one, each with its own connections, as processes have them. It has a table `t` of
/// two integers, `id` (its key) and `n` (never null).
func withDatabases(_ backend: Backend, _ count: Int, _ body: ([any SQLDatabase]) async throws -> Void) async throws {
    try await backend.withDatabases(count) { databases in
        let script =
            backend.dialect == .sqlite
            ? "CREATE TABLE t (id INTEGER PRIMARY KEY, n INTEGER NOT NULL) STRICT"
            : "CREATE TABLE t (id BIGINT PRIMARY KEY, n BIGINT NOT NULL)"
        try await databases[0].write { try await $0.script(script) }
        try await body(databases)
    }
}

func withDatabase(_ backend: Backend, _ body: (any SQLDatabase) async throws -> Void) async throws {
    try await withDatabases(backend, 1) { try await body($0[0]) }
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
