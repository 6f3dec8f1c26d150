import SQL
import Synchronization

/// Runs write transactions, each on a session of its own and each exactly once, whatever becomes of sessions and servers meanwhile.
final class PostgresWriter: Sendable {
    /// The transaction that the current task is in the middle of: a second one inside of it could wait for its locks.
    @TaskLocal private static var current: PostgresTransaction?

    /// Tries of a transaction that loses against others.
    private static let tries = 6
    /// How long it is asked what became of a commit that was not answered.
    private static let resolving = Duration.seconds(60)

    private let pool: PostgresPool
    private let patience: Duration
    private let hasReceipts = Atomic(false)
    private let onFailure: @Sendable (_ state: String) -> Void
    private let onCommit: @Sendable () -> Void

    /// - Parameter patience: how long a transaction waits for a server to come back before it fails.
    /// - Parameter onFailure: told of each error by its SQLSTATE.
    init(
        _ pool: PostgresPool, patience: Duration, onFailure: @escaping @Sendable (String) -> Void, onCommit: @escaping @Sendable () -> Void
    ) {
        self.pool = pool
        self.patience = patience
        self.onFailure = onFailure
        self.onCommit = onCommit
    }

    func write<T: Sendable>(_ body: @Sendable (any SQLTransaction) async throws -> T) async throws -> T {
        if let current = Self.current, current.isOpen, current.writer === self {
            throw SQLError(.statement, "a write transaction was begun inside another one of the same database")
        }
        let deadline = ContinuousClock.now + patience
        var losses = 0
        while true {
            switch try await attempt(body, until: deadline) {
            case .committed(let value):
                return value
            case .lost(let error):
                losses += 1
                guard losses < Self.tries else { throw error }
                // At random, so that those that lost against each other do not meet again.
                try await Task.sleep(for: .milliseconds(Int.random(in: 1...10) * losses))
            case .undone(let error):
                guard .now < deadline else { throw error }
                // The same: all sessions of a server end at one moment.
                try await Task.sleep(for: .milliseconds(Int.random(in: 10...50)))
            case .unknown:
                throw SQLError(.connection, "a commit was left unanswered")
            }
        }
    }

    func close() async {
        await pool.close()
    }

    private enum Outcome<T> {
        case committed(T)
        /// Rolled back for another transaction's sake.
        case lost(SQLError)
        /// The session ended before the commit, and with it the transaction.
        case undone(SQLError)
        /// The commit of that number under that session was not answered.
        case unknown(T, number: Int64, session: String)
    }

    private func attempt<T: Sendable>(
        _ body: @Sendable (any SQLTransaction) async throws -> T, until deadline: ContinuousClock.Instant
    ) async throws -> Outcome<T> {
        let connection = try await pool.take(until: deadline)
        let outcome: Result<Outcome<T>, any Error>
        do { outcome = .success(try await run(body, on: connection)) } catch { outcome = .failure(error) }
        // Before it is asked what became of a commit: that takes another session.
        pool.give(connection)
        guard case .unknown(let value, let number, let session) = try outcome.get() else { return try outcome.get() }
        // To its end, also when this task is cancelled meanwhile.
        let isThere = try await Task { [self] in try await isCommitted(number, of: session) }.value
        guard isThere else { return .undone(SQLError(.connection, "the connection ended before the commit")) }
        onCommit()
        return .committed(value)
    }

    private func run<T: Sendable>(
        _ body: @Sendable (any SQLTransaction) async throws -> T, on connection: PostgresConnection
    ) async throws -> Outcome<T> {
        if !hasReceipts.load(ordering: .acquiring) {
            do {
                try await Receipts.prepare(on: connection)
            } catch let error as SQLError where error.code == .connection {
                return .undone(error)
            }
            hasReceipts.store(true, ordering: .releasing)
        }
        let number = connection.writes.add(1, ordering: .relaxed).newValue
        let beginning = try connection.commands(for: Receipts.write(number, of: connection.id))
        let transaction = PostgresTransaction(connection, beginning: [.plain(sql: "BEGIN", values: [])] + beginning, writer: self)
        let result: Result<T, any Error> = await Self.$current.withValue(transaction) {
            do { return .success(try await body(transaction)) } catch { return .failure(error) }
        }
        transaction.end()
        if let failure = transaction.failure { return try failed(failure, result, on: connection) }
        guard transaction.isBegun else { return .committed(try result.get()) }
        guard case .success(let value) = result else {
            connection.post([.plain(sql: "ROLLBACK", values: [])])
            return .committed(try result.get())
        }
        let replies: [Reply]
        do {
            replies = try await connection.ask(transaction.ending + [.plain(sql: "COMMIT", values: [])])
        } catch let error as SQLError where error.code == .connection {
            return .unknown(value, number: number, session: connection.id)
        }
        transaction.take(ending: replies.dropLast())
        if let failure = transaction.failure { return try failed(failure, result, on: connection) }
        switch replies.last {
        case .done(_, _, "COMMIT"):
            if transaction.isChanged { onCommit() }
            return .committed(value)
        case .failed(let error, let state):
            onFailure(state)
            switch error.code {
            // The server ends: it may have committed before.
            case .connection:
                connection.makeStale()
                return .unknown(value, number: number, session: connection.id)
            case .conflict: return .lost(error)
            case .constraint, .storage, .statement: throw error
            }
        default:
            return .lost(SQLError(.conflict, "PostgreSQL rolled the transaction back"))
        }
    }

    /// A statement failed. What the body made of that is what its caller learns, unless the transaction may be run again.
    private func failed<T>(
        _ failure: (error: SQLError, state: String), _ result: Result<T, any Error>, on connection: PostgresConnection
    ) throws -> Outcome<T> {
        onFailure(failure.state)
        if connection.isOpen { connection.post([.plain(sql: "ROLLBACK", values: [])]) }
        switch failure.state {
        // Statements that the session should have prepared and has not, or has under another meaning, and a server that has become a
        // standby: another session will do.
        case "26000", "42P05", "0A000":
            connection.makeStale()
            return .lost(failure.error)
        case "25006":
            connection.makeStale()
            return .undone(failure.error)
        default: break
        }
        switch failure.error.code {
        case .conflict: return .lost(failure.error)
        case .connection:
            connection.makeStale()
            return .undone(failure.error)
        case .constraint, .storage, .statement:
            // Also where the body went on as if nothing had been: the transaction is none any more.
            if case .failure(let error) = result { throw error }
            throw failure.error
        }
    }

    /// Whether a transaction took place whose commit was not answered.
    private func isCommitted(_ number: Int64, of session: String) async throws -> Bool {
        let deadline = ContinuousClock.now + Self.resolving
        var last = SQLError(.connection, "the server did not come back in time")
        while .now < deadline {
            do {
                let connection = try await pool.take(until: deadline)
                defer { pool.give(connection) }
                switch try await connection.run(Receipts.read(of: session)) {
                case .done(let rows, _, _):
                    return try rows.first?.integer("number") == number
                case .failed(let error, let state):
                    onFailure(state)
                    if error.code != .conflict { connection.makeStale() }
                    last = error
                case .skipped: break
                }
            } catch let error as SQLError where error.code == .connection {
                last = error
            }
            // The server that has the answer may be on its way up again, which nothing tells.
            try await Task.sleep(for: .milliseconds(100))
        }
        throw SQLError(
            .connection, "the answer to a commit was lost, and so far it is not known whether it took place: \(last.message)")
    }
}
