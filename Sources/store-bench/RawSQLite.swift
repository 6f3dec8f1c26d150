import GRDBSQLite
import SQL

/// SQLite by its C interface, with the settings of Godwit's own writer.
final class RawSQLite: RawSession {
    private let handle: OpaquePointer
    private var prepared: [String: OpaquePointer] = [:]

    init(path: String) throws {
        var opened: OpaquePointer?
        guard sqlite3_open_v2(path, &opened, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, nil) == SQLITE_OK, let opened else {
            throw BenchFailure("\(path) does not open")
        }
        handle = opened
        sqlite3_busy_timeout(handle, 5000)
        let settings = [
            "journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON", "journal_size_limit = 67108864", "wal_autocheckpoint = 4000",
            "cache_size = -65536",
        ]
        for pragma in settings {
            try run(SQLStatement(stringLiteral: "PRAGMA \(pragma)"))
        }
    }

    func begin(writing: Bool) throws { try run(writing ? "BEGIN IMMEDIATE" : "BEGIN") }

    func commit() throws { try run("COMMIT") }

    func run(_ statement: SQLStatement) throws {
        var (text, values): (String, [SQLValue]) = ("", [])
        for part in statement.parts {
            switch part {
            case .text(let piece): text += piece
            case .value(let value):
                text += "?"
                values.append(value)
            }
        }
        let compiled = try prepared[text] ?? prepare(text)
        for (index, value) in values.enumerated() { bind(value, at: Int32(index + 1), of: compiled) }
        var result = sqlite3_step(compiled)
        while result == SQLITE_ROW { result = sqlite3_step(compiled) }
        sqlite3_reset(compiled)
        guard result == SQLITE_DONE else { throw failure(text) }
    }

    /// The rows of a query without values, all of text.
    func texts(_ query: String) throws -> [[String]] {
        let compiled = try prepared[query] ?? prepare(query)
        defer { sqlite3_reset(compiled) }
        var rows: [[String]] = []
        while sqlite3_step(compiled) == SQLITE_ROW {
            rows.append((0..<sqlite3_column_count(compiled)).map { sqlite3_column_text(compiled, $0).map { String(cString: $0) } ?? "" })
        }
        return rows
    }

    private func prepare(_ text: String) throws -> OpaquePointer {
        var compiled: OpaquePointer?
        guard sqlite3_prepare_v3(handle, text, -1, UInt32(SQLITE_PREPARE_PERSISTENT), &compiled, nil) == SQLITE_OK, let compiled else {
            throw failure(text)
        }
        prepared[text] = compiled
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
        case .blob(let bytes): sqlite3_bind_blob(statement, place, bytes, Int32(bytes.count), copied)
        }
    }

    func close() {
        for statement in prepared.values { sqlite3_finalize(statement) }
        sqlite3_close(handle)
    }

    private func failure(_ text: String) -> BenchFailure {
        BenchFailure("SQLite: \(String(cString: sqlite3_errmsg(handle))) at \(text)")
    }
}
