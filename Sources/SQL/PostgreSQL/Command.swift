import CLibPQ
import Glibc
import SQL

/// One thing asked of the server within an exchange.
enum Command: Sendable {
    /// Has it parse a statement and keep it under a name. A type of 0 is for the server to find out.
    case prepare(name: String, sql: String, types: [Oid])
    /// Runs what was prepared under a name.
    case execute(name: String, values: [SQLValue])
    /// Runs a statement that is not kept.
    case plain(sql: String, values: [SQLValue])

    /// Hands it to libpq, which copies it. Returns false where libpq does not take it.
    func send(on connection: OpaquePointer) -> Bool {
        switch self {
        case .prepare(let name, let sql, let types):
            return PQsendPrepare(connection, name, sql, Int32(types.count), types) == 1
        case .execute(let name, let values):
            return Parameters.with(values) { count, texts, lengths, formats in
                PQsendQueryPrepared(connection, name, count, texts, lengths, formats, 0) == 1
            }
        case .plain(let sql, let values):
            let types = values.map(\.type)
            return Parameters.with(values) { count, texts, lengths, formats in
                PQsendQueryParams(connection, sql, count, types, texts, lengths, formats, 0) == 1
            }
        }
    }
}

/// Values in the form in which libpq takes them: as text, blobs as they are.
private enum Parameters {
    static func with<T>(
        _ values: [SQLValue],
        _ body: (Int32, [UnsafePointer<CChar>?], [Int32], [Int32]) -> T
    ) -> T {
        var buffers: [UnsafeMutablePointer<CChar>?] = []
        var lengths: [Int32] = []
        var formats: [Int32] = []
        buffers.reserveCapacity(values.count)
        for value in values {
            switch value {
            case .null: buffers.append(nil)
            case .integer(let value): buffers.append(strdup(String(value)))
            case .real(let value): buffers.append(strdup(value.isNaN ? "NaN" : String(value)))
            case .text(let value): buffers.append(strdup(value))
            case .blob(let value):
                // One byte more: none at all would count as null.
                let copy = UnsafeMutablePointer<CChar>(OpaquePointer(malloc(value.count + 1)))
                if let copy { value.withUnsafeBytes { bytes in _ = bytes.baseAddress.map { memcpy(copy, $0, bytes.count) } } }
                buffers.append(copy)
            }
            if case .blob(let value) = value {
                lengths.append(Int32(value.count))
                formats.append(1)
            } else {
                lengths.append(0)
                formats.append(0)
            }
        }
        defer { for buffer in buffers { free(buffer) } }
        return body(Int32(values.count), buffers.map { $0.map { UnsafePointer($0) } }, lengths, formats)
    }
}

extension SQLValue {
    /// PostgreSQL's number of the type that the value is sent as; 0, for any, where it is null.
    var type: Oid {
        switch self {
        case .null: 0
        case .integer: 20
        case .real: 701
        case .text: 25
        case .blob: 17
        }
    }
}

extension SQLStatement {
    /// With PostgreSQL's placeholders. Throws ``SQLError/Code/statement`` for a text that the server could not keep whole.
    func forPostgres() throws(SQLError) -> (sql: String, values: [SQLValue]) {
        var sql = ""
        var values: [SQLValue] = []
        for part in parts {
            switch part {
            case .text(let text): sql += text
            case .value(let value):
                if case .text(let text) = value, text.utf8.contains(0) {
                    throw SQLError(.statement, "a text with a zero byte cannot be stored")
                }
                values.append(value)
                sql += "$\(values.count)"
            }
        }
        guard values.count <= 65535 else {
            throw SQLError(.statement, "a statement has \(values.count) values; PostgreSQL takes 65535 at most")
        }
        return (sql, values)
    }
}
