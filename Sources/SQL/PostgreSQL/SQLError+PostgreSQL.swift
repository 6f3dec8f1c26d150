import CLibPQ
import SQL

extension SQLError {
    /// Of a result that tells of a fault.
    ///
    /// - Parameter state: its SQLSTATE; empty where libpq itself found the fault, which then is one of the connection.
    init(_ result: OpaquePointer, state: String) {
        func field(_ letter: Int32) -> String? { PQresultErrorField(result, letter).map { String(cString: $0) } }
        let message = field(Reply.Field.primary) ?? PQresultErrorMessage(result).map { String(cString: $0) } ?? "unknown error"
        var told = "PostgreSQL says \"\(message.trimmingSpaces)\""
        if let detail = field(Reply.Field.detail) { told += ", \"\(detail)\"" }
        if !state.isEmpty { told += " (\(state))" }
        let name = field(Reply.Field.constraint) ?? field(Reply.Field.column)
        self.init(Self.code(state: state, name: name ?? message), told)
    }

    private static func code(state: String, name: String) -> Code {
        switch state {
        // Lost against another transaction, or waited for it for too long.
        case "40001", "40P01", "55P03", "57014": .conflict
        case "22P02" where name.contains("json"): .constraint(name)
        // The session or the server ends, or takes no more sessions.
        case "", "40003", "25P03", "57P01", "57P02", "57P03", "57P05", "53300": .connection
        // Read-only, or not allowed.
        case "25006", "42501": .storage
        default:
            switch state.prefix(2) {
            case "08": .connection
            case "23": .constraint(name)
            case "53", "58", "XX": .storage
            default: .statement
            }
        }
    }
}

extension String {
    /// Without the line ends and spaces around it that libpq's messages have.
    var trimmingSpaces: String {
        var text = self[...]
        while let last = text.last, last.isWhitespace { text.removeLast() }
        while let first = text.first, first.isWhitespace { text.removeFirst() }
        return String(text)
    }
}
