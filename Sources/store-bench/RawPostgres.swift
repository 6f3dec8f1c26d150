import CLibPQ
import Foundation
import SQL

/// PostgreSQL by libpq as pgbench uses it with prepared statements: one statement a round trip, the next one after its answer.
final class RawPostgres: RawSession {
    private let handle: OpaquePointer
    private var prepared: [String: String] = [:]

    init(url: String) throws {
        guard let opened = PQconnectdb(url), PQstatus(opened) == CONNECTION_OK else { throw BenchFailure("\(url) does not open") }
        handle = opened
        try run("SET client_min_messages = 'warning'")
    }

    func begin(writing: Bool) throws {
        try run(writing ? "BEGIN" : "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
    }

    func commit() throws { try run("COMMIT") }

    func run(_ statement: SQLStatement) throws {
        var (text, values): (String, [SQLValue]) = ("", [])
        for part in statement.parts {
            switch part {
            case .text(let piece): text += piece
            case .value(let value):
                values.append(value)
                text += "$\(values.count)"
            }
        }
        let types = values.map(\.type)
        // Where a value is null its type is for the server to find out, and another statement.
        let key = text + types.map { " \($0)" }.joined()
        let name = try prepared[key] ?? prepare(text, types, key)
        var copies: [UnsafeMutablePointer<CChar>?] = values.map { $0.written.flatMap { strdup($0) } }
        defer { for copy in copies { free(copy) } }
        let result = copies.withUnsafeMutableBufferPointer { buffer in
            buffer.withMemoryRebound(to: UnsafePointer<CChar>?.self) { pointers in
                PQexecPrepared(handle, name, Int32(values.count), pointers.baseAddress, nil, nil, 0)
            }
        }
        try check(result, text)
    }

    /// The rows of a query without values, all of text.
    func texts(_ query: String) throws -> [[String]] {
        let result = PQexec(handle, query)
        defer { PQclear(result) }
        guard PQresultStatus(result) == PGRES_TUPLES_OK else { throw failure(query) }
        return (0..<PQntuples(result)).map { row in
            (0..<PQnfields(result)).map { PQgetvalue(result, row, $0).map { String(cString: $0) } ?? "" }
        }
    }

    /// A row in the text form of COPY.
    static func copyLine(_ values: [SQLValue]) throws -> String {
        let fields = try values.map { value in
            switch value {
            case .null: "\\N"
            case .integer(let number): String(number)
            case .text(let text): text.contains { "\\\t\n\r".contains($0) } ? marked(text) : text
            case .real, .blob: throw BenchFailure("rows to be copied hold neither numbers with fractions nor bytes")
            }
        }
        return fields.joined(separator: "\t") + "\n"
    }

    private static func marked(_ text: String) -> String {
        var text = text.replacing("\\", with: "\\\\")
        for (character, mark) in [("\t", "\\t"), ("\n", "\\n"), ("\r", "\\r")] { text = text.replacing(character, with: mark) }
        return text
    }

    /// Rows in the form of COPY.
    func copy(_ rows: String, into table: String, _ columns: [String]) throws {
        let text = "COPY \(table) (\(columns.joined(separator: ", "))) FROM STDIN"
        let begun = PQexec(handle, text)
        defer { PQclear(begun) }
        guard PQresultStatus(begun) == PGRES_COPY_IN else { throw failure(text) }
        var rows = rows
        let isSent = rows.withUTF8 { bytes in
            bytes.withMemoryRebound(to: CChar.self) { PQputCopyData(handle, $0.baseAddress, Int32($0.count)) == 1 }
        }
        guard isSent, PQputCopyEnd(handle, nil) == 1 else { throw failure(text) }
        while let result = PQgetResult(handle) { try check(result, text) }
    }

    private func prepare(_ text: String, _ types: [Oid], _ key: String) throws -> String {
        let name = "s\(prepared.count)"
        try check(PQprepare(handle, name, text, Int32(types.count), types), text)
        prepared[key] = name
        return name
    }

    private func check(_ result: OpaquePointer?, _ text: String) throws {
        defer { PQclear(result) }
        let status = PQresultStatus(result)
        guard status == PGRES_TUPLES_OK || status == PGRES_COMMAND_OK else {
            throw failure(text)
        }
    }

    private func failure(_ text: String) -> BenchFailure {
        BenchFailure("PostgreSQL: \(String(cString: PQerrorMessage(handle))) at \(text)")
    }

    func close() { PQfinish(handle) }
}

extension SQLValue {
    fileprivate var type: Oid {
        switch self {
        case .null: 0
        case .integer: 20
        case .real: 701
        case .text: 25
        case .blob: 17
        }
    }

    /// As the server reads it; nil for null.
    fileprivate var written: String? {
        switch self {
        case .null: nil
        case .integer(let number): String(number)
        case .real(let number): String(number)
        case .text(let text): text
        case .blob(let bytes): "\\x" + bytes.map { String(format: "%02x", $0) }.joined()
        }
    }
}
