import SQL
import Synchronization

/// The transaction that is open on a session, until its body has ended. It begins with its first statement, in the same exchange.
final class PostgresTransaction: SQLTransaction {
    private struct State {
        /// What is sent together with the first statement.
        var beginning: [Command]
        /// What is sent together with the next one, or with the end.
        var posted: [Command] = []
        var isEnded = false
        var isChanged = false
        /// The first error of a statement: the server takes nothing more but the end.
        var failure: SQLError?
        var failureState = ""
    }

    /// Whose it is, if it writes.
    let writer: PostgresWriter?
    private let connection: PostgresConnection
    private let state: Mutex<State>

    init(_ connection: PostgresConnection, beginning: [Command], writer: PostgresWriter? = nil) {
        self.connection = connection
        self.writer = writer
        self.state = Mutex(State(beginning: beginning))
    }

    var isOpen: Bool { state.withLock { !$0.isEnded } }
    /// Whether the server has heard of it.
    var isBegun: Bool { state.withLock { $0.beginning.isEmpty } }
    /// What is still to be sent with the end.
    var ending: [Command] { state.withLock { $0.posted } }
    var isChanged: Bool { state.withLock { $0.isChanged } }
    var failure: (error: SQLError, state: String)? { state.withLock { state in state.failure.map { ($0, state.failureState) } } }

    /// Refuses every statement from now on: the session goes to another.
    func end() {
        state.withLock { $0.isEnded = true }
    }

    func query(_ statement: SQLStatement) async throws -> [SQLRow] {
        try await run(statement).rows
    }

    func queries(_ statements: [SQLStatement]) async throws -> [[SQLRow]] {
        let before = try begin()
        let commands = try statements.map { try connection.commands(for: $0) }
        let replies = try await keepingFailure { try await connection.ask(before + commands.joined()) }
        for reply in replies { try take(reply) }
        // The last command of each is the statement itself.
        var place = before.count
        return commands.map { commands in
            place += commands.count
            if place <= replies.count, case .done(let rows, _, _) = replies[place - 1] { return rows }
            return []
        }
    }

    @discardableResult
    func execute(_ statement: SQLStatement) async throws -> Int {
        try await run(statement).changed
    }

    func post(_ statement: SQLStatement) async throws {
        let commands = try connection.commands(for: statement)
        let beginning = try begin()
        state.withLock { state in
            state.isChanged = true
            state.posted = beginning + commands
        }
    }

    func script(_ text: String) async throws {
        let beginning = try begin()
        if !beginning.isEmpty {
            for reply in try await keepingFailure({ try await connection.ask(beginning) }) { try take(reply) }
        }
        state.withLock { $0.isChanged = true }
        for reply in try await keepingFailure({ try await connection.script(text) }) { try take(reply) }
    }

    private func run(_ statement: SQLStatement) async throws -> (rows: [SQLRow], changed: Int) {
        let beginning = try begin()
        let reply = try await keepingFailure { try await connection.run(statement, before: beginning) }
        try take(reply)
        guard case .done(let rows, let changed, _) = reply else {
            throw SQLError(.connection, "a statement was left out without a reason")
        }
        return (rows, changed)
    }

    private func begin() throws -> [Command] {
        try Task.checkCancellation()
        return try state.withLock { state in
            guard !state.isEnded else { throw SQLError(.statement, "a statement was sent after its transaction had ended") }
            defer { (state.beginning, state.posted) = ([], []) }
            return state.beginning + state.posted
        }
    }

    /// Takes in what was answered to the ``ending``; what failed of it becomes the ``failure``.
    func take(ending replies: some Sequence<Reply>) {
        for reply in replies { _ = error(of: reply) }
    }

    private func take(_ reply: Reply) throws {
        if let error = error(of: reply) { throw error }
    }

    /// What went wrong by a reply, which is the transaction's failure unless it has one.
    private func error(of reply: Reply) -> SQLError? {
        if reply.isChange { state.withLock { $0.isChanged = true } }
        guard case .failed(let error, let code) = reply else { return nil }
        state.withLock { state in
            guard state.failure == nil else { return }
            state.failure = error
            state.failureState = code
        }
        return error
    }

    private func keepingFailure<T>(_ body: () async throws -> T) async throws -> T {
        do {
            return try await body()
        } catch let error as SQLError where error.code == .connection {
            state.withLock { $0.failure = $0.failure ?? error }
            throw error
        }
    }
}
