import Fleet
import GRDBSQLite
import SQL

/// A SQLite database in memory whose statements run at once, on the caller's thread. Its clock is the world's.
///
/// One is used for many worlds: all that a world does to it is inside of one transaction, which is rolled back at the world's end.
final class MemoryDatabase: @unchecked Sendable {
    // Made and used by one thread, the simulation's.

    private struct Compiled {
        let handle: OpaquePointer
        let columns: [String]
    }

    /// Rows of the tables that the checker follows.
    struct Touched {
        var migrations: Set<Int64> = []
        var reservations: Set<Int64> = []
        var servers: Set<Int64> = []
        var steps: Set<Int64> = []
        var transitions: Set<Int64> = []
        var hosts: Set<Int64> = []

        fileprivate mutating func note(_ table: UnsafePointer<CChar>, _ row: Int64) {
            func isNamed(_ name: StaticString) -> Bool {
                name.withUTF8Buffer { name in
                    name.enumerated().allSatisfy { UInt8(bitPattern: table[$0.offset]) == $0.element } && table[name.count] == 0
                }
            }
            if isNamed("migrations") {
                migrations.insert(row)
            } else if isNamed("steps") {
                steps.insert(row)
            } else if isNamed("transitions") {
                transitions.insert(row)
            } else if isNamed("servers") {
                servers.insert(row)
            } else if isNamed("reservations") {
                reservations.insert(row)
            } else if isNamed("hosts") {
                hosts.insert(row)
            }
        }
    }

    private let connection: OpaquePointer
    private var touched = Touched()
    private var kept: [String: Compiled] = [:]
    /// Milliseconds since 1970.
    var now: () -> Int64 = { SimulatedClock.beginning }
    /// Changes a statement before it runs, for a mutation.
    var twist: ((String) -> String?)?

    init() throws {
        var opened: OpaquePointer?
        guard sqlite3_open_v2(":memory:", &opened, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX, nil) == SQLITE_OK,
            let opened
        else { throw SQLError(.storage, "no database in memory") }
        connection = opened
        // The product asks for the time by `julianday('now')`, and for nothing else by that function.
        sqlite3_create_function_v2(
            connection, "julianday", 1, SQLITE_UTF8, Unmanaged.passUnretained(self).toOpaque(),
            { context, _, _ in
                guard let context, let user = sqlite3_user_data(context) else { return }
                let milliseconds = Unmanaged<MemoryDatabase>.fromOpaque(user).takeUnretainedValue().now()
                sqlite3_result_double(context, Double(milliseconds) / 86_400_000 + 2_440_587.5)
            }, nil, nil, nil)
        sqlite3_update_hook(
            connection,
            { user, _, _, table, row in
                guard let user, let table else { return }
                Unmanaged<MemoryDatabase>.fromOpaque(user).takeUnretainedValue().touched.note(table, row)
            }, Unmanaged.passUnretained(self).toOpaque())
        try script("PRAGMA foreign_keys = ON; PRAGMA synchronous = OFF; PRAGMA temp_store = MEMORY")
    }

    /// What was written since this was asked before. What was rolled back since is among it.
    func takeTouched() -> Touched {
        defer { touched = Touched() }
        return touched
    }

    deinit {
        for compiled in kept.values { sqlite3_finalize(compiled.handle) }
        sqlite3_close_v2(connection)
    }

    func script(_ text: String) throws {
        guard sqlite3_exec(connection, text, nil, nil, nil) == SQLITE_OK else { throw failure(text) }
    }

    /// Rows that the statement before changed.
    var changes: Int { Int(sqlite3_changes(connection)) }

    func run(_ statement: SQLStatement) throws -> [SQLRow] {
        var text = ""
        for part in statement.parts {
            switch part {
            case .text(let piece): text += piece
            case .value: text += "?"
            }
        }
        if let twist {
            guard let twisted = twist(text) else { return [] }
            text = twisted
        }
        let compiled = try compiled(text)
        defer {
            sqlite3_reset(compiled.handle)
            sqlite3_clear_bindings(compiled.handle)
        }
        var place: Int32 = 0
        for case .value(let value) in statement.parts {
            place += 1
            bind(value, at: place, of: compiled.handle)
        }
        var rows: [SQLRow] = []
        while true {
            switch sqlite3_step(compiled.handle) {
            case SQLITE_ROW: rows.append(row(of: compiled))
            case SQLITE_DONE: return rows
            default: throw failure(text)
            }
        }
    }

    private func compiled(_ text: String) throws -> Compiled {
        if let found = kept[text] { return found }
        var handle: OpaquePointer?
        guard sqlite3_prepare_v3(connection, text, -1, UInt32(SQLITE_PREPARE_PERSISTENT), &handle, nil) == SQLITE_OK, let handle else {
            throw failure(text)
        }
        let columns = (0..<sqlite3_column_count(handle)).map { sqlite3_column_name(handle, $0).map { String(cString: $0) } ?? "" }
        let compiled = Compiled(handle: handle, columns: columns)
        kept[text] = compiled
        return compiled
    }

    private func bind(_ value: SQLValue, at place: Int32, of statement: OpaquePointer) {
        // SQLite copies what it is shown under this mark.
        let copied = unsafeBitCast(-1, to: sqlite3_destructor_type.self)
        switch value {
        case .null: sqlite3_bind_null(statement, place)
        case .integer(let number): sqlite3_bind_int64(statement, place, number)
        case .real(let number): sqlite3_bind_double(statement, place, number)
        case .text(let text): sqlite3_bind_text(statement, place, text, -1, copied)
        case .blob(let bytes): sqlite3_bind_blob64(statement, place, bytes, sqlite3_uint64(bytes.count), copied)
        }
    }

    private func row(of compiled: Compiled) -> SQLRow {
        let statement = compiled.handle
        return SQLRow(
            columns: compiled.columns,
            values: (0..<Int32(compiled.columns.count)).map { column in
                switch sqlite3_column_type(statement, column) {
                case SQLITE_INTEGER: return .integer(sqlite3_column_int64(statement, column))
                case SQLITE_FLOAT: return .real(sqlite3_column_double(statement, column))
                case SQLITE_TEXT: return .text(sqlite3_column_text(statement, column).map { String(cString: $0) } ?? "")
                case SQLITE_BLOB:
                    let start = sqlite3_column_blob(statement, column)
                    return .blob([UInt8](UnsafeRawBufferPointer(start: start, count: Int(sqlite3_column_bytes(statement, column)))))
                default: return .null
                }
            })
    }

    /// As the product's own driver tells them.
    private func failure(_ text: String) -> SQLError {
        let message = String(cString: sqlite3_errmsg(connection))
        let code = sqlite3_extended_errcode(connection)
        if code == SQLITE_CONSTRAINT | (7 << 8) { return SQLError(.constraint(message), message) }
        guard code & 0xff == SQLITE_CONSTRAINT else { return SQLError(.statement, "\(message) (\(code)) to: \(text)") }
        let name = message.firstIndex(of: ":").map { message[$0...].dropFirst(2) } ?? message[...]
        return SQLError(.constraint(String(name)), message)
    }
}

/// The transaction under way on a ``MemoryDatabase``.
struct MemoryTransaction: SQLTransaction {
    let database: MemoryDatabase

    func query(_ statement: SQLStatement) async throws -> [SQLRow] { try database.run(statement) }

    @discardableResult
    func execute(_ statement: SQLStatement) async throws -> Int {
        _ = try database.run(statement)
        return database.changes
    }

    func queries(_ statements: [SQLStatement]) async throws -> [[SQLRow]] { try statements.map(database.run) }
    func post(_ statement: SQLStatement) async throws { _ = try database.run(statement) }
    func script(_ text: String) async throws { try database.script(text) }
}

/// The store as one process reaches it: with delays, with outages, with answers that are lost, and not at all once the process is dead.
struct SimulatedStore: SQLDatabase {
    let world: World
    let process: Process

    var dialect: SQLDialect { .sqlite }

    func read<T: Sendable>(_ body: @Sendable (any SQLTransaction) async throws -> T) async throws -> T {
        try await process.gate()
        try await arrive()
        if world.isStoreDown { throw SQLError(.connection, "no connection to the store") }
        let value = try await world.alone { try await body(MemoryTransaction(database: world.database)) }
        try await process.gate()
        return value
    }

    @discardableResult
    func write<T: Sendable>(_ body: @Sendable (any SQLTransaction) async throws -> T) async throws -> T {
        try await process.gate()
        if world.isFaulty, world.dice.hits(world.faults.heldWrites) {
            // All of it is on the wire already: neither the death of the process nor a change of its mind calls it back.
            if process.isMortal, world.dice.hits(5000) { process.die() }
            await world.loop.pause(world.dice.within(5_000_000...25_000_000))
        } else {
            try await arrive()
        }
        if world.isStoreDown { throw SQLError(.connection, "no connection to the store") }
        let value = try await world.alone {
            let database = world.database
            _ = try database.run("SAVEPOINT change")
            do {
                let value = try await body(MemoryTransaction(database: database))
                _ = try database.run("RELEASE change")
                return value
            } catch {
                _ = try database.run("ROLLBACK TO change")
                _ = try database.run("RELEASE change")
                throw error
            }
        }
        world.committed(by: process)
        if world.isFaulty, world.dice.hits(world.faults.lostCommits) {
            world.tell("the answer to a commit of \(process.name) is lost")
            throw SQLError(.connection, "the connection broke before the answer")
        }
        try await process.gate()
        return value
    }

    /// On its way to the store.
    private func arrive() async throws {
        try await world.loop.sleep(world.dice.within(100...(world.isFaulty && world.dice.hits(200) ? world.faults.storeStall : 1500)))
        try process.requireAlive()
    }

    func changes() -> AsyncStream<Void> {
        let (stream, continuation) = AsyncStream.makeStream(of: Void.self, bufferingPolicy: .bufferingNewest(1))
        world.listen(process, continuation)
        return stream
    }

    func close() async {}
}
