import CLibPQ
import Dispatch
import Glibc
import SQL
import Synchronization

/// One session with a server, in libpq's non-blocking pipeline mode: what is sent is answered in order, and nobody waits for the socket
/// but the reactor.
final class PostgresConnection: Sendable {
    /// What stands between two synchronization points.
    private struct Exchange {
        /// Whether it was sent by the simple protocol, outside of the pipeline.
        var isScript: Bool
        var replies: [Reply] = []
        /// Nil where nobody waits for the answer.
        var waiter: CheckedContinuation<[Reply], any Error>?
        var deadline: ContinuousClock.Instant
    }

    private struct State {
        /// Nil once the session has ended.
        var handle: OpaquePointer?
        var socket: Int32
        var exchanges: [Exchange] = []
        var isWriting = false
        /// Why it ended.
        var failure: SQLError?
        var cache: StatementCache
    }

    /// Tells sessions apart for ever: what a session wrote last stands under it, see ``Receipts``.
    let id: String
    /// How many write transactions it has begun. Only who holds the connection counts.
    let writes = Atomic<Int64>(0)
    /// Whether the server is the one that was asked for no longer, or knows no longer what the session has prepared.
    private let isStale = Atomic(false)
    private let state: Mutex<State>
    private let reactor: Reactor
    private let prepares: Bool
    private let onNotification: (@Sendable (_ payload: String) -> Void)?
    private let onEnd: (@Sendable () -> Void)?

    private init(
        _ handle: sending OpaquePointer, reactor: Reactor, prepares: Bool, onNotification: (@Sendable (String) -> Void)?,
        onEnd: (@Sendable () -> Void)?
    ) {
        var words = [UInt64.random(in: 0...UInt64.max), UInt64.random(in: 0...UInt64.max)].map { String($0, radix: 16) }
        words = words.map { String(repeating: "0", count: 16 - $0.count) + $0 }
        self.id = words.joined()
        self.reactor = reactor
        self.prepares = prepares
        self.onNotification = onNotification
        self.onEnd = onEnd
        let socket = PQsocket(handle)
        self.state = Mutex(State(handle: handle, socket: socket, cache: StatementCache(prefix: "godwit_\(id)")))
    }

    /// Opens a session. libpq looks names up and shakes hands meanwhile on a thread of its own, which is none of a task's.
    ///
    /// - Parameter prepares: whether statements are kept prepared.
    /// - Throws: ``SQLError`` `connection`.
    static func open(
        _ settings: PostgresSettings, reactor: Reactor, prepares: Bool, onNotification: (@Sendable (String) -> Void)? = nil,
        onEnd: (@Sendable () -> Void)? = nil
    ) async throws -> PostgresConnection {
        let connection: PostgresConnection = try await withCheckedThrowingContinuation { continuation in
            DispatchQueue(label: "godwit.postgres.connect").async {
                do throws(SQLError) {
                    let handle = try settings.connect()
                    let socket = PQsocket(handle)
                    let connection = PostgresConnection(
                        handle, reactor: reactor, prepares: prepares, onNotification: onNotification, onEnd: onEnd)
                    reactor.watch(socket, for: connection)
                    continuation.resume(returning: connection)
                } catch {
                    continuation.resume(throwing: error)
                }
            }
        }
        do {
            try await connection.setUp()
        } catch {
            connection.close()
            throw error
        }
        return connection
    }

    deinit { close() }

    /// What holds for every transaction: none waits for ever, neither for a lock nor, where its client has vanished, for that one.
    private func setUp() async throws {
        let replies = try await exchange(PostgresSettings.session.map { .plain(sql: $0, values: []) })
        for case .failed(let error, _) in replies { throw error }
    }

    var isOpen: Bool { !isStale.load(ordering: .acquiring) && state.withLock { $0.handle != nil } }

    /// Not to be lent again.
    func makeStale() { isStale.store(true, ordering: .releasing) }

    /// Ends the session. Whoever waits is told that it has ended.
    func close() { end(SQLError(.connection, "the connection was closed")) }

    // MARK: asking

    /// Runs a statement after `before`, in one exchange. Returns the reply to it, or the first failure before it.
    ///
    /// - Throws: ``SQLError`` `connection` when the session has ended: what was sent may have been carried out.
    func run(_ statement: SQLStatement, before: [Command] = []) async throws -> Reply {
        let replies = try await ask(before + (try commands(for: statement)))
        return replies.first { if case .failed = $0 { true } else { false } } ?? replies.last ?? .skipped
    }

    /// What to send for a statement: as one that is kept prepared, where that is wanted.
    func commands(for statement: SQLStatement) throws -> [Command] {
        let (sql, values) = try statement.forPostgres()
        guard prepares else { return [.plain(sql: sql, values: values)] }
        return state.withLock { $0.cache.commands(for: sql, values) }
    }

    /// Sends commands that may prepare something as one exchange, and waits for its end.
    func ask(_ commands: [Command]) async throws -> [Reply] {
        let replies = try await exchange(commands)
        state.withLock { $0.cache.keep(commands, replies) }
        return replies
    }

    /// Sends commands as one exchange and waits for its end.
    func exchange(_ commands: [Command], deadline: Duration = .seconds(120)) async throws -> [Reply] {
        try await withCheckedThrowingContinuation { continuation in
            send(commands, deadline: deadline, waiter: continuation)
        }
    }

    /// Sends commands without waiting for what becomes of them; what is asked next is answered after them.
    func post(_ commands: [Command]) {
        send(commands, deadline: .seconds(120), waiter: nil)
    }

    /// Runs a text of several statements without values. Nothing else may be under way on the connection.
    func script(_ text: String, deadline: Duration = .seconds(3600)) async throws -> [Reply] {
        // What was only posted is answered then, so that the pipeline is empty.
        _ = try await exchange([])
        return try await withCheckedThrowingContinuation { continuation in
            let failure: SQLError? = state.withLock { state in
                guard let handle = state.handle else { return state.failure ?? Self.ended }
                guard PQexitPipelineMode(handle) == 1, PQsendQuery(handle, text) == 1 else { return Self.error(of: handle) }
                state.exchanges.append(Exchange(isScript: true, waiter: continuation, deadline: .now + deadline))
                flush(&state)
                return nil
            }
            guard let failure else { return }
            end(failure)
            continuation.resume(throwing: failure)
        }
    }

    private func send(_ commands: [Command], deadline: Duration, waiter: CheckedContinuation<[Reply], any Error>?) {
        let failure: SQLError? = state.withLock { state in
            guard let handle = state.handle else { return state.failure ?? Self.ended }
            for command in commands {
                guard command.send(on: handle) else { return Self.error(of: handle) }
            }
            guard PQpipelineSync(handle) == 1 else { return Self.error(of: handle) }
            state.exchanges.append(Exchange(isScript: false, waiter: waiter, deadline: .now + deadline))
            flush(&state)
            return nil
        }
        guard let failure else { return }
        // Half of it may be in libpq's buffer.
        end(failure)
        waiter?.resume(throwing: failure)
    }

    // MARK: the reactor's side

    /// Takes in what has come.
    func ready() {
        var told: [(CheckedContinuation<[Reply], any Error>, [Reply])] = []
        var notifications: [String] = []
        let failure: SQLError? = state.withLock { state in
            guard let handle = state.handle else { return nil }
            let isAlive = PQconsumeInput(handle) == 1
            while let exchange = state.exchanges.first, PQisBusy(handle) == 0 {
                let isEnded = Self.take(from: handle, isScript: exchange.isScript, into: &state.exchanges[0].replies)
                guard let isEnded else { break }
                if isEnded {
                    let whole = state.exchanges.removeFirst()
                    if let waiter = whole.waiter { told.append((waiter, whole.replies)) }
                }
            }
            while let notification = PQnotifies(handle) {
                notifications.append(String(cString: notification.pointee.extra))
                PQfreemem(notification)
            }
            guard isAlive, PQstatus(handle) == CONNECTION_OK else {
                // What the server said at last, such as that it shuts down, comes as an error to what it was asked.
                for case .failed(let error, _) in state.exchanges.first?.replies ?? [] where error.code == .connection { return error }
                return Self.error(of: handle)
            }
            flush(&state)
            return nil
        }
        for (waiter, replies) in told { waiter.resume(returning: replies) }
        for payload in notifications { onNotification?(payload) }
        if let failure { end(failure) }
    }

    /// Takes one result of the exchange under way. Returns whether that was its end, nil when there is none yet.
    private static func take(from handle: OpaquePointer, isScript: Bool, into replies: inout [Reply]) -> Bool? {
        // A command's results end with none, and so does a script.
        guard let result = PQgetResult(handle) ?? (isScript ? nil : (PQisBusy(handle) == 0 ? PQgetResult(handle) : nil)) else {
            guard isScript else { return nil }
            // Back into the pipeline; it fails only where a result is left, and none is.
            return PQenterPipelineMode(handle) == 1
        }
        defer { PQclear(result) }
        if PQresultStatus(result) == PGRES_PIPELINE_SYNC { return true }
        replies.append(Reply(result))
        return false
    }

    func endIfOverdue(_ now: ContinuousClock.Instant) {
        let isOverdue = state.withLock { state in state.exchanges.first.map { $0.deadline < now } ?? false }
        if isOverdue { end(SQLError(.connection, "the server did not answer in time")) }
    }

    // MARK: the end

    private func end(_ failure: SQLError) {
        let waiters: [CheckedContinuation<[Reply], any Error>]? = state.withLock { state in
            guard let handle = state.handle else { return nil }
            state.handle = nil
            state.failure = failure
            reactor.forget(state.socket)
            PQfinish(handle)
            let waiters = state.exchanges.compactMap(\.waiter)
            state.exchanges = []
            return waiters
        }
        guard let waiters else { return }
        for waiter in waiters { waiter.resume(throwing: failure) }
        onEnd?()
    }

    private func flush(_ state: inout State) {
        guard let handle = state.handle else { return }
        // A connection that fails here is found out by the reactor, which sees its end.
        let isWriting = PQflush(handle) == 1
        guard isWriting != state.isWriting else { return }
        state.isWriting = isWriting
        reactor.watch(state.socket, writable: isWriting)
    }

    private static let ended = SQLError(.connection, "the connection has ended")

    private static func error(of handle: OpaquePointer) -> SQLError {
        let message = String(cString: PQerrorMessage(handle)).trimmingSpaces
        return SQLError(.connection, message.isEmpty ? "the server closed the connection" : message)
    }
}
