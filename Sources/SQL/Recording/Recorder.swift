package import SQL
import Synchronization

/// What a database was asked, transaction by transaction in the order of their ends. One that failed does not count.
package final class Recorder: Sendable {
    package struct Transaction: Sendable {
        package var isWrite: Bool
        package var statements: [SQLStatement] = []
    }

    private let transactions = Mutex<[Transaction]>([])

    package init() {}

    func add(_ transaction: Transaction) { transactions.withLock { $0.append(transaction) } }

    /// Begins anew.
    package func forget() { transactions.withLock { $0 = [] } }

    package var all: [Transaction] { transactions.withLock { $0 } }
}

/// A database that keeps what it is asked and passes it on.
package final class RecordingDatabase: SQLDatabase {
    private let database: any SQLDatabase
    private let recorder: Recorder

    package init(_ database: any SQLDatabase, _ recorder: Recorder) {
        self.database = database
        self.recorder = recorder
    }

    package var dialect: SQLDialect { database.dialect }

    package func read<T: Sendable>(_ body: @Sendable (any SQLTransaction) async throws -> T) async throws -> T {
        let kept = Mutex(Recorder.Transaction(isWrite: false))
        let value = try await database.read { transaction in
            try await body(RecordingTransaction(transaction) { statement in kept.withLock { $0.statements.append(statement) } })
        }
        recorder.add(kept.withLock { $0 })
        return value
    }

    package func write<T: Sendable>(_ body: @Sendable (any SQLTransaction) async throws -> T) async throws -> T {
        let kept = Mutex(Recorder.Transaction(isWrite: true))
        let value = try await database.write { transaction in
            try await body(RecordingTransaction(transaction) { statement in kept.withLock { $0.statements.append(statement) } })
        }
        recorder.add(kept.withLock { $0 })
        return value
    }

    package func changes() -> AsyncStream<Void> { database.changes() }

    package func close() async { await database.close() }
}

private struct RecordingTransaction: SQLTransaction {
    private let transaction: any SQLTransaction
    private let keep: @Sendable (SQLStatement) -> Void

    init(_ transaction: any SQLTransaction, _ keep: @escaping @Sendable (SQLStatement) -> Void) {
        self.transaction = transaction
        self.keep = keep
    }

    func query(_ statement: SQLStatement) async throws -> [SQLRow] {
        keep(statement)
        return try await transaction.query(statement)
    }

    func queries(_ statements: [SQLStatement]) async throws -> [[SQLRow]] {
        for statement in statements { keep(statement) }
        return try await transaction.queries(statements)
    }

    func execute(_ statement: SQLStatement) async throws -> Int {
        keep(statement)
        return try await transaction.execute(statement)
    }

    func post(_ statement: SQLStatement) async throws {
        keep(statement)
        try await transaction.post(statement)
    }

    func script(_ text: String) async throws { try await transaction.script(text) }
}
