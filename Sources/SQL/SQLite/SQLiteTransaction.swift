import Foundation
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
        try await run { try $0.rows(of: statement) }
    }

    @discardableResult
    func execute(_ statement: SQLStatement) async throws -> Int {
        try await run { database in
            let (sql, arguments) = try statement.forSQLite()
            try database.cachedStatement(sql: sql).execute(arguments: arguments)
            return database.changesCount
        }
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

extension Database {
    func rows(of statement: SQLStatement) throws -> [SQLRow] {
        let (sql, arguments) = try statement.forSQLite()
        let prepared = try cachedStatement(sql: sql)
        let columns = prepared.columnNames
        let cursor = try Row.fetchCursor(prepared, arguments: arguments)
        var rows: [SQLRow] = []
        while let row = try cursor.next() {
            rows.append(SQLRow(columns: columns, values: row.databaseValues.map(SQLValue.init)))
        }
        return rows
    }
}

extension SQLStatement {
    /// With SQLite's placeholders.
    fileprivate func forSQLite() throws -> (sql: String, arguments: StatementArguments) {
        var sql = ""
        var values: [DatabaseValue] = []
        for part in parts {
            switch part {
            case .text(let text):
                sql += text
            case .value(let value):
                sql += "?"
                values.append(try value.forSQLite())
            }
        }
        return (sql, StatementArguments(values))
    }
}

extension SQLValue {
    fileprivate init(_ value: DatabaseValue) {
        self =
            switch value.storage {
            case .null: .null
            case .int64(let value): .integer(value)
            case .double(let value): .real(value)
            case .string(let value): .text(value)
            case .blob(let value): .blob([UInt8](value))
            }
    }

    fileprivate func forSQLite() throws -> DatabaseValue {
        switch self {
        case .null: return .null
        case .integer(let value): return value.databaseValue
        case .real(let value): return value.databaseValue
        case .text(let value):
            // It would be cut off there.
            guard !value.utf8.contains(0) else { throw SQLError(.statement, "a text with a zero byte cannot be stored") }
            return value.databaseValue
        case .blob(let value): return Data(value).databaseValue
        }
    }
}
