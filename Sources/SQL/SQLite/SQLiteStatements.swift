import GRDB
import GRDBSQLite
import SQL

/// The statements that a connection keeps compiled, by their text. The ones not used for longest go first.
struct SQLiteStatements {
    private struct Compiled {
        let handle: OpaquePointer
        let columns: [String]
        var lastUse: UInt64
    }

    /// Statements with more values than these are lists of one length or another, which seldom come again.
    private static let mostValues = 64
    private static let capacity = 300
    /// SQLite copies what it is shown under this mark.
    private static var copied: sqlite3_destructor_type { unsafeBitCast(-1, to: sqlite3_destructor_type.self) }

    private var kept: [String: Compiled] = [:]
    private var uses: UInt64 = 0

    /// Runs a statement to its end.
    ///
    /// - Parameter wantsRows: whether the rows are kept.
    /// - Throws: GRDB's `DatabaseError`; ``SQLError`` `statement` for a text that SQLite could not keep whole.
    mutating func run(_ statement: SQLStatement, on database: Database, wantsRows: Bool) throws -> [SQLRow] {
        guard let connection = database.sqliteConnection else { throw SQLError(.connection, "the database is closed") }
        let text = statement.sqliteText
        let keeps = statement.parts.count <= Self.mostValues * 2
        uses += 1
        let compiled: Compiled
        if let found = kept[text] {
            compiled = found
            kept[text]?.lastUse = uses
        } else {
            compiled = try compile(text, on: connection, isKept: keeps)
            if keeps { keep(compiled, text) }
        }
        defer {
            sqlite3_reset(compiled.handle)
            if !keeps { sqlite3_finalize(compiled.handle) }
        }
        var place: Int32 = 0
        for case .value(let value) in statement.parts {
            place += 1
            try Self.bind(value, at: place, of: compiled.handle)
        }
        var rows: [SQLRow] = []
        while true {
            switch sqlite3_step(compiled.handle) {
            case SQLITE_ROW:
                if wantsRows { rows.append(Self.row(of: compiled)) }
            case SQLITE_DONE:
                return rows
            default:
                throw Self.failure(on: connection, text)
            }
        }
    }

    /// Before the connection is closed.
    mutating func close() {
        for compiled in kept.values { sqlite3_finalize(compiled.handle) }
        kept = [:]
    }

    private func compile(_ text: String, on connection: OpaquePointer, isKept: Bool) throws -> Compiled {
        var handle: OpaquePointer?
        let flags = isKept ? UInt32(SQLITE_PREPARE_PERSISTENT) : 0
        guard sqlite3_prepare_v3(connection, text, -1, flags, &handle, nil) == SQLITE_OK, let handle else {
            throw Self.failure(on: connection, text)
        }
        let columns = (0..<sqlite3_column_count(handle)).map { sqlite3_column_name(handle, $0).map { String(cString: $0) } ?? "" }
        return Compiled(handle: handle, columns: columns, lastUse: uses)
    }

    private mutating func keep(_ compiled: Compiled, _ text: String) {
        if kept.count >= Self.capacity, let oldest = kept.min(by: { $0.value.lastUse < $1.value.lastUse }) {
            sqlite3_finalize(oldest.value.handle)
            kept[oldest.key] = nil
        }
        kept[text] = compiled
    }

    private static func bind(_ value: SQLValue, at place: Int32, of statement: OpaquePointer) throws {
        switch value {
        case .null: sqlite3_bind_null(statement, place)
        case .integer(let number): sqlite3_bind_int64(statement, place, number)
        case .real(let number): sqlite3_bind_double(statement, place, number)
        case .text(var text):
            let isWhole = text.withUTF8 { bytes in
                // It would be cut off there.
                guard !bytes.contains(0) else { return false }
                // Without a byte there may be no address, which would count as null.
                guard let start = bytes.baseAddress else { return sqlite3_bind_text(statement, place, "", 0, copied) == SQLITE_OK }
                return start.withMemoryRebound(to: CChar.self, capacity: bytes.count) {
                    sqlite3_bind_text64(statement, place, $0, sqlite3_uint64(bytes.count), copied, UInt8(SQLITE_UTF8)) == SQLITE_OK
                }
            }
            guard isWhole else { throw SQLError(.statement, "a text with a zero byte, or one too long, cannot be stored") }
        case .blob(let bytes):
            guard !bytes.isEmpty else {
                sqlite3_bind_zeroblob(statement, place, 0)
                return
            }
            guard sqlite3_bind_blob64(statement, place, bytes, sqlite3_uint64(bytes.count), copied) == SQLITE_OK else {
                throw SQLError(.statement, "a blob is too long to be stored")
            }
        }
    }

    private static func row(of compiled: Compiled) -> SQLRow {
        let statement = compiled.handle
        return SQLRow(
            columns: compiled.columns,
            values: (0..<Int32(compiled.columns.count)).map { column in
                switch sqlite3_column_type(statement, column) {
                case SQLITE_INTEGER: return .integer(sqlite3_column_int64(statement, column))
                case SQLITE_FLOAT: return .real(sqlite3_column_double(statement, column))
                case SQLITE_TEXT:
                    let start = sqlite3_column_text(statement, column)
                    let bytes = UnsafeBufferPointer(start: start, count: Int(sqlite3_column_bytes(statement, column)))
                    return .text(String(decoding: bytes, as: UTF8.self))
                case SQLITE_BLOB:
                    let start = sqlite3_column_blob(statement, column)
                    return .blob([UInt8](UnsafeRawBufferPointer(start: start, count: Int(sqlite3_column_bytes(statement, column)))))
                default: return .null
                }
            })
    }

    private static func failure(on connection: OpaquePointer, _ text: String) -> DatabaseError {
        DatabaseError(
            resultCode: ResultCode(rawValue: sqlite3_extended_errcode(connection)), message: String(cString: sqlite3_errmsg(connection)),
            sql: text)
    }
}

extension SQLStatement {
    /// With SQLite's placeholders.
    fileprivate var sqliteText: String {
        if parts.count == 1, case .text(let text) = parts[0] { return text }
        var text = ""
        text.reserveCapacity(1024)
        for part in parts {
            switch part {
            case .text(let piece): text += piece
            case .value: text += "?"
            }
        }
        return text
    }
}
