import CLibPQ
import SQL

/// What the server answered to one command.
enum Reply: Sendable {
    /// - Parameter tag: what was done, in the server's words (`COMMIT`, `UPDATE 3`).
    case done(rows: [SQLRow], changed: Int, tag: String)
    /// - Parameter state: PostgreSQL's five-character code; empty where libpq itself found the fault.
    case failed(SQLError, state: String)
    /// An earlier command of the exchange failed.
    case skipped

    /// From a result that is no synchronization point.
    init(_ result: OpaquePointer) {
        switch PQresultStatus(result) {
        case PGRES_TUPLES_OK, PGRES_SINGLE_TUPLE:
            self = .done(rows: Self.rows(of: result), changed: Self.changed(by: result), tag: String(cString: PQcmdStatus(result)))
        case PGRES_COMMAND_OK, PGRES_EMPTY_QUERY:
            self = .done(rows: [], changed: Self.changed(by: result), tag: String(cString: PQcmdStatus(result)))
        case PGRES_PIPELINE_ABORTED:
            self = .skipped
        default:
            let state = PQresultErrorField(result, Field.state).map { String(cString: $0) } ?? ""
            self = .failed(SQLError(result, state: state), state: state)
        }
    }

    /// Whether it changed any row.
    var isChange: Bool {
        guard case .done(_, let changed, let tag) = self, changed > 0 else { return false }
        return !tag.hasPrefix("SELECT") && !tag.hasPrefix("FETCH")
    }

    private static func changed(by result: OpaquePointer) -> Int {
        PQcmdTuples(result).flatMap { Int(String(cString: $0)) } ?? 0
    }

    private static func rows(of result: OpaquePointer) -> [SQLRow] {
        let width = PQnfields(result)
        let columns = (0..<width).map { PQfname(result, $0).map { String(cString: $0) } ?? "" }
        let types = (0..<width).map { PQftype(result, $0) }
        return (0..<PQntuples(result)).map { row in
            SQLRow(
                columns: columns,
                values: (0..<width).map { column in
                    guard PQgetisnull(result, row, column) == 0, let value = PQgetvalue(result, row, column) else { return .null }
                    return SQLValue(value, length: Int(PQgetlength(result, row, column)), type: types[Int(column)])
                })
        }
    }

    /// libpq's letters for the parts of an error, which are macros that Swift does not see.
    enum Field {
        static let state = Int32(UInt8(ascii: "C"))
        static let detail = Int32(UInt8(ascii: "D"))
        static let constraint = Int32(UInt8(ascii: "n"))
        static let column = Int32(UInt8(ascii: "c"))
        static let primary = Int32(UInt8(ascii: "M"))
    }
}

extension SQLValue {
    /// From what the server sends as text. Truth values become 0 and 1, sums of integers (`numeric`) integers.
    fileprivate init(_ value: UnsafeMutablePointer<CChar>, length: Int, type: Oid) {
        let bytes = UnsafeRawBufferPointer(start: value, count: length)
        switch type {
        case 16:
            self = .integer(bytes.first == UInt8(ascii: "t") ? 1 : 0)
        case 17:
            self = .blob(Self.bytes(hexadecimal: bytes))
        default:
            let text = String(decoding: bytes, as: UTF8.self)
            switch type {
            case 20, 21, 23, 26: self = Int64(text).map(SQLValue.integer) ?? .text(text)
            case 700, 701: self = Double(text).map(SQLValue.real) ?? .text(text)
            case 1700: self = Int64(text).map(SQLValue.integer) ?? Double(text).map(SQLValue.real) ?? .text(text)
            default: self = .text(text)
            }
        }
    }

    /// Of `\x00ff`.
    private static func bytes(hexadecimal text: UnsafeRawBufferPointer) -> [UInt8] {
        func digit(_ character: UInt8) -> UInt8 {
            character >= UInt8(ascii: "a") ? character - UInt8(ascii: "a") + 10 : character - UInt8(ascii: "0")
        }
        return stride(from: 2, to: text.count - 1, by: 2).map { digit(text[$0]) << 4 | digit(text[$0 + 1]) }
    }
}
