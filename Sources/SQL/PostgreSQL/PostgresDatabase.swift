package import SQL
import Synchronization

/// A fleet's store: a PostgreSQL database that any number of processes of any number of machines share.
///
/// Each transaction runs on a session of its own out of a pool. Those that write are `READ COMMITTED` and durable when they return, those
/// that only read see one moment. A session that ends, as with the server's restart or its failover, is replaced without anybody's doing:
/// a transaction that was under way is run again, and one whose commit was not answered is looked for first, so that none is half
/// done and none done twice.
package final class PostgresDatabase: SQLDatabase {
    private static let tries = 6

    private let reactor: Reactor
    private let settings: PostgresSettings
    private let readers: PostgresPool
    private let writer: PostgresWriter
    private let watch: PostgresWatch
    private let patience: Duration
    private let sessions: Sessions

    package var dialect: SQLDialect { .postgres }

    /// Opens sessions, with or without prepared statements.
    private final class Sessions: Sendable {
        private let settings: PostgresSettings
        private let reactor: Reactor
        /// Off from the moment on that somebody between us and the server is found to hand out its sessions by the transaction.
        private let prepares: Atomic<Bool>

        init(_ settings: PostgresSettings, _ reactor: Reactor, prepares: Bool) {
            self.settings = settings
            self.reactor = reactor
            self.prepares = Atomic(prepares)
        }

        func open() async throws -> PostgresConnection {
            try await PostgresConnection.open(settings, reactor: reactor, prepares: prepares.load(ordering: .acquiring))
        }

        /// Looks at what went wrong with a statement.
        func see(_ state: String) {
            if state == "26000" || state == "42P05" { prepares.store(false, ordering: .releasing) }
        }
    }

    private init(_ settings: PostgresSettings, _ reactor: Reactor, _ sessions: Sessions, connections: Int, patience: Duration) {
        self.settings = settings
        self.reactor = reactor
        self.sessions = sessions
        self.patience = patience
        let few = max(1, connections / 3)
        let readers = PostgresPool(size: few) { try await sessions.open() }
        let watch = PostgresWatch(settings, reactor: reactor, sender: readers)
        self.readers = readers
        self.watch = watch
        self.writer = PostgresWriter(
            PostgresPool(size: max(1, connections - few)) { try await sessions.open() }, patience: patience,
            onFailure: { sessions.see($0) }, onCommit: { watch.committed() })
    }

    deinit { reactor.stop() }

    /// Reaches the database once, so that whoever mistyped something learns of it now.
    ///
    /// - Parameter url: libpq's URI or pairs (`postgres://user@one,two/godwit`, `host=/run/postgresql dbname=godwit`); what it leaves out
    ///   comes from libpq's environment. Of several hosts the one is used that takes writes.
    /// - Parameter connections: how many sessions there are at most, beside one that listens.
    /// - Parameter patience: how long a transaction waits for a server that does not answer, and for a free session, before it fails.
    /// - Throws: ``SQLError`` `connection`.
    package static func open(_ url: String, connections: Int = 12, patience: Duration = .seconds(10)) async throws -> PostgresDatabase {
        let settings = try PostgresSettings(url)
        let reactor: Reactor
        do { reactor = try Reactor() } catch { throw SQLError(.storage, "no file descriptor is left for the database (\(error.number))") }
        let sessions = Sessions(settings, reactor, prepares: true)
        let database = PostgresDatabase(settings, reactor, sessions, connections: connections, patience: patience)
        do {
            database.readers.give(try await database.readers.take(until: .now))
        } catch let error as SQLError {
            reactor.stop()
            throw SQLError(error.code, "the database \(settings.shown) cannot be reached: \(error.message)")
        }
        return database
    }

    /// A connection string without anything secret, for messages.
    ///
    /// - Throws: ``SQLError`` `connection` where libpq does not understand it.
    package static func shown(_ url: String) throws(SQLError) -> String { try PostgresSettings(url).shown }

    package func read<T: Sendable>(_ body: @Sendable (any SQLTransaction) async throws -> T) async throws -> T {
        let deadline = ContinuousClock.now + patience
        var losses = 0
        while true {
            let connection = try await readers.take(until: deadline)
            let transaction = PostgresTransaction(
                connection, beginning: [.plain(sql: "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY", values: [])])
            let result: Result<T, any Error>
            do { result = .success(try await body(transaction)) } catch { result = .failure(error) }
            transaction.end()
            let failure = transaction.failure
            if failure?.error.code == .connection || ["26000", "42P05", "0A000"].contains(failure?.state) { connection.makeStale() }
            if transaction.isBegun, connection.isOpen { connection.post([.plain(sql: "END", values: [])]) }
            readers.give(connection)
            guard let failure else { return try result.get() }
            sessions.see(failure.state)
            let isSessions = failure.error.code == .connection || !connection.isOpen
            losses += 1
            guard isSessions ? .now < deadline : failure.error.code == .conflict && losses < Self.tries else {
                if case .failure(let error) = result { throw error }
                throw failure.error
            }
            // At random, so that those whose sessions ended at one moment do not all come back at one.
            try await Task.sleep(for: .milliseconds(Int.random(in: 1...10) * min(losses, 10)))
        }
    }

    @discardableResult
    package func write<T: Sendable>(_ body: @Sendable (any SQLTransaction) async throws -> T) async throws -> T {
        try await writer.write(body)
    }

    package func changes() -> AsyncStream<Void> { watch.listen() }

    package func close() async {
        await watch.close()
        await writer.close()
        await readers.close()
        reactor.stop()
    }
}
