import GRDB
import SQL
import Synchronization

/// The transaction that is open on a connection, until its body has ended.
final class SQLiteTransaction: SQLTransaction {
    /// Whose it is, if it writes.
    let writer: SQLiteWriter?
    private let connection: SQLiteConnection
    private let ended = Atomic(false)

    init(_ connection: SQLiteConnection, writer: SQLiteWriter? = nil) {
        self.connection = connection
        self.writer = writer
    }

    var isOpen: Bool { !ended.load(ordering: .sequentiallyConsistent) }

    /// Refuses every statement from now on: the connection goes to another.
    func end() {
        ended.store(true, ordering: .sequentiallyConsistent)
    }

    func query(_ statement: SQLStatement) async throws -> [SQLRow] {
        try await run { [connection] in try connection.rows(of: statement, in: $0) }
    }

    func queries(_ statements: [SQLStatement]) async throws -> [[SQLRow]] {
        try await run { [connection] database in try statements.map { try connection.rows(of: $0, in: database) } }
    }

    @discardableResult
    func execute(_ statement: SQLStatement) async throws -> Int {
        try await run { [connection] database in
            try connection.execute(statement, in: database)
            return database.changesCount
        }
    }

    func post(_ statement: SQLStatement) async throws {
        try await run { [connection] in try connection.execute(statement, in: $0) }
    }

    func script(_ text: String) async throws {
        try await run { try $0.execute(sql: text) }
    }

    private func run<T: Sendable>(_ body: @escaping @Sendable (Database) throws -> T) async throws -> T {
        try Task.checkCancellation()
        return try await connection.run { [self] database in
            guard isOpen else {
                throw SQLError(.statement, "a statement was sent after its transaction had ended")
            }
            // SQLite itself rolls back after some errors (a full disk): what follows would be committed one by one.
            guard database.isInsideTransaction else {
                throw SQLError(.storage, "SQLite rolled the transaction back after an earlier error")
            }
            return try body(database)
        }
    }
}
