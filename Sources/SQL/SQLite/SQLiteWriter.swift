import GRDB
import SQL
import Synchronization

/// The one connection that writes. Transactions run one after the other, in the order in which they came, and share commits:
/// while another waits, one that is done does not commit but lets the next one go on in the same SQLite transaction, behind a
/// savepoint of its own, and whoever finds nobody waiting commits for all. None is told that it is done before that commit is on
/// disk, and one that throws takes back only what is its own.
final class SQLiteWriter: Sendable {
    /// How the ones that are done learn what became of their commit.
    private typealias Waiter = CheckedContinuation<Settlement, Never>

    private enum Settlement: Sendable {
        case committed
        case failed(SQLError)
        /// Nobody waits for the connection: whoever asks has to commit.
        case commit
    }

    /// The SQLite transaction under way. Only who holds the connection changes it.
    private struct Group {
        var waiters: [Waiter] = []
        var changesBefore = 0
        var end: ContinuousClock.Instant
    }

    /// After so many, and after `sharing` has passed, whoever is done commits: other processes want their turn, too.
    private static let largest = 256

    /// The transaction that the current task is in the middle of: a second one inside of it would wait for itself.
    @TaskLocal private static var current: SQLiteTransaction?

    private let connection: Pool<SQLiteConnection>
    private let thread: SQLiteThread
    private let group = Mutex<Group?>(nil)
    private let sharing: Duration
    private let onCommit: @Sendable () -> Void

    init(_ connection: SQLiteConnection, sharing: Duration, onCommit: @escaping @Sendable () -> Void) {
        self.connection = Pool([connection])
        self.thread = connection.thread
        self.sharing = sharing
        self.onCommit = onCommit
    }

    func write<T: Sendable>(_ body: @Sendable (any SQLTransaction) async throws -> T) async throws -> T {
        if let current = Self.current, current.isOpen, current.writer === self {
            throw SQLError(.statement, "a write transaction was begun inside another one of the same database")
        }
        return try await withTaskExecutorPreference(thread) {
            let connection = try await self.connection.take()
            switch await Result({ try await run(body, on: connection) }) {
            case .success(let value):
                try await settle(on: connection)
                return value
            case .failure(let error):
                await abandon(on: connection)
                throw error
            }
        }
    }

    func close() async {
        for connection in await connection.drain() { await connection.close() }
    }

    /// Runs one body, in a new SQLite transaction or behind a savepoint of the one under way.
    private func run<T: Sendable>(
        _ body: @Sendable (any SQLTransaction) async throws -> T, on connection: SQLiteConnection
    ) async throws -> T {
        let isFirst = group.withLock { $0 == nil }
        if isFirst {
            try Task.checkCancellation()
            let changes = try await connection.run { database in
                try connection.execute("BEGIN IMMEDIATE", in: database)
                return database.totalChangesCount
            }
            group.withLock { $0 = Group(changesBefore: changes, end: .now + sharing) }
        } else {
            try await connection.run { try connection.execute("SAVEPOINT body", in: $0) }
        }
        let transaction = SQLiteTransaction(connection, writer: self)
        let outcome = await Self.$current.withValue(transaction) {
            await Result { try await body(transaction) }
        }
        transaction.end()
        if !isFirst {
            let isSuccess = if case .success = outcome { true } else { false }
            try await connection.run { database in
                guard database.isInsideTransaction else { return }
                if !isSuccess { try connection.execute("ROLLBACK TO body", in: database) }
                try connection.execute("RELEASE body", in: database)
            }
        }
        return try outcome.get()
    }

    /// Waits until what a body did is on disk: by a later one's commit, or by our own.
    private func settle(on connection: SQLiteConnection) async throws {
        let settlement: Settlement =
            if await isAwaited() {
                await withCheckedContinuation { waiter in
                    let isPassedOn = self.connection.hand(on: connection) {
                        group.withLock { $0?.waiters.append(waiter) }
                    }
                    if !isPassedOn { waiter.resume(returning: .commit) }
                }
            } else {
                .commit
            }
        switch settlement {
        case .committed: return
        case .failed(let error): throw error
        case .commit:
            if let error = await finish(on: connection) { throw error }
        }
    }

    /// Whether another one waits that may go on in the transaction under way.
    private func isAwaited() async -> Bool {
        let mayGrow = group.withLock { group in
            group.map { $0.waiters.count + 1 < Self.largest && .now < $0.end } ?? false
        }
        guard mayGrow else { return false }
        // Those that came while the thread was taken are let in before it is asked who waits.
        if !connection.isAwaited { await Task.yield() }
        return connection.isAwaited
    }

    /// After a body that threw: those before it still want their commit.
    private func abandon(on connection: SQLiteConnection) async {
        let waiters = group.withLock { $0?.waiters.count ?? 0 }
        if waiters > 0 {
            if await isAwaited(), self.connection.hand(on: connection, {}) { return }
            _ = await finish(on: connection)
            return
        }
        do {
            try await connection.run { if $0.isInsideTransaction { try connection.execute("ROLLBACK", in: $0) } }
        } catch {
            // A rollback fails only where SQLite has rolled back already; the next transaction's begin would tell.
            assertionFailure("SQLite did not roll back: \(error)")
        }
        group.withLock { $0 = nil }
        self.connection.give(connection)
    }

    /// Commits for all, tells them, and gives the connection to the next. Returns why it failed.
    private func finish(on connection: SQLiteConnection) async -> SQLError? {
        let changesBefore = group.withLock { $0?.changesBefore ?? 0 }
        let outcome = await Result {
            try await connection.run { database in
                guard database.isInsideTransaction else {
                    throw SQLError(.conflict, "SQLite rolled the transaction back after another one's error")
                }
                do {
                    try connection.execute("COMMIT", in: database)
                } catch {
                    if database.isInsideTransaction { try connection.execute("ROLLBACK", in: database) }
                    throw error
                }
                return database.totalChangesCount != changesBefore
            }
        }
        let waiters = group.withLock { group in
            defer { group = nil }
            return group?.waiters ?? []
        }
        self.connection.give(connection)
        switch outcome {
        case .success(let isChanged):
            for waiter in waiters { waiter.resume(returning: .committed) }
            if isChanged { onCommit() }
            return nil
        case .failure(let error):
            let error = error as? SQLError ?? SQLError(.storage, "the commit failed: \(error)")
            for waiter in waiters { waiter.resume(returning: .failed(error)) }
            return error
        }
    }
}
