import GRDB
import SQL

extension SQLError {
    init(_ error: DatabaseError) {
        let message = error.message ?? "unknown error"
        let told = "SQLite says \"\(message)\" (\(error.extendedResultCode.rawValue))"
        switch error.extendedResultCode {
        case .SQLITE_CONSTRAINT_DATATYPE:
            self.init(.statement, told)
        case .SQLITE_CONSTRAINT_TRIGGER:
            // The text that the trigger raises is the constraint's name.
            self.init(.constraint(message), told)
        default:
            switch error.resultCode {
            case .SQLITE_CONSTRAINT:
                // "UNIQUE constraint failed: migrations.server_id", "CHECK constraint failed: name"
                let name = message.firstIndex(of: ":").map { message[$0...].dropFirst(2) } ?? message[...]
                self.init(.constraint(String(name)), told)
            case .SQLITE_BUSY, .SQLITE_LOCKED:
                self.init(.conflict, told)
            case .SQLITE_FULL, .SQLITE_READONLY, .SQLITE_CORRUPT, .SQLITE_NOTADB, .SQLITE_IOERR, .SQLITE_CANTOPEN, .SQLITE_PERM,
                .SQLITE_NOMEM:
                self.init(.storage, told)
            default:
                self.init(.statement, error.sql.map { "\(told) to: \($0)" } ?? told)
            }
        }
    }

    /// - Parameter error: whatever GRDB threw on the way.
    init(opening path: String, failed error: any Error) {
        let cause =
            switch error {
            case let error as DatabaseError: SQLError(error)
            case let error as SQLError: error
            default: SQLError(.storage, "\(error)")
            }
        // A statement that fails in opening a file fails for what the file is.
        self.init(cause.code == .statement ? .storage : cause.code, "the database \(path) cannot be opened: \(cause.message)")
    }
}
