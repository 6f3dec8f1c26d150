import Backends
import Glibc
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

/// A port of loopback that nobody has, from the kernel.
func freePort() throws -> UInt16 {
    let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
    defer { close(descriptor) }
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_addr.s_addr = in_addr_t(0x7f00_0001).bigEndian
    var length = socklen_t(MemoryLayout<sockaddr_in>.size)
    let isBound = withUnsafeMutablePointer(to: &address) { pointer in
        pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
            bind(descriptor, $0, length) == 0 && getsockname(descriptor, $0, &length) == 0
        }
    }
    guard isBound else { throw Deliberate() }
    return UInt16(bigEndian: address.sin_port)
}
