package import SQL

/// Godwit's embedded store: one SQLite file that any number of processes of one machine share.
///
/// One connection writes, in transactions that take the write lock at their start and are synced to disk before anyone hears of them;
/// a few others read, each transaction in its own snapshot. Every statement runs on its connection's Dispatch queue.
package final class SQLiteDatabase: SQLDatabase {
    /// Marks a file as Godwit's (`PRAGMA application_id`): "Godw". The settings of a file that is somebody else's are left alone.
    static let applicationID: Int64 = 0x47_6f_64_77
    private static let readerCount = 3
    private static let tries = 3

    private let writer: SQLiteWriter
    private let readers: Pool<SQLiteConnection>
    private let watch: SQLiteWatch

    package var dialect: SQLDialect { .sqlite }

    private init(writer: SQLiteConnection, readers: [SQLiteConnection], watcher: SQLiteConnection, path: String, sharing: Duration) {
        let watch = SQLiteWatch(watcher, path: path)
        self.writer = SQLiteWriter(writer, sharing: sharing, onCommit: { watch.signal() })
        self.readers = Pool(readers)
        self.watch = watch
    }

    /// Opens the file, and creates it where there is none (its folder must exist).
    ///
    /// - Parameter patience: how long a transaction waits for another process's before it counts as lost against it. It is then run
    ///   again, twice at most.
    /// - Parameter sharing: how long a transaction that is done may go uncommitted for the sake of others that wait to share its commit.
    /// - Throws: ``SQLError`` `storage` when the file cannot be opened or is no database, `conflict` when another process keeps it locked.
    package static func open(path: String, patience: Duration = .seconds(5), sharing: Duration = .milliseconds(20)) async throws
        -> SQLiteDatabase
    {
        // Two processes that create the same file at the same moment can refuse each other the switch to WAL.
        try await retrying(tries: 10) {
            let writer = try await SQLiteConnection.open(path: path, role: .writer, patience: patience)
            var readers: [SQLiteConnection] = []
            for number in 1...readerCount {
                readers.append(try await SQLiteConnection.open(path: path, role: .reader(number), patience: patience))
            }
            let watcher = try await SQLiteConnection.open(path: path, role: .watcher, patience: patience)
            return SQLiteDatabase(writer: writer, readers: readers, watcher: watcher, path: path, sharing: sharing)
        }
    }

    package func read<T: Sendable>(_ body: @Sendable (any SQLTransaction) async throws -> T) async throws -> T {
        try await Self.retrying(tries: Self.tries) {
            let connection = try await readers.take()
            defer { readers.give(connection) }
            return try await connection.reading(body)
        }
    }

    @discardableResult
    package func write<T: Sendable>(_ body: @Sendable (any SQLTransaction) async throws -> T) async throws -> T {
        try await Self.retrying(tries: Self.tries) { try await writer.write(body) }
    }

    package func changes() -> AsyncStream<Void> { watch.listen() }

    package func close() async {
        await watch.close()
        await writer.close()
        for connection in await readers.drain() { await connection.close() }
    }

    /// Runs the body again, after a short while of random length, when it lost against another transaction.
    private static func retrying<T>(tries: Int, _ body: () async throws -> T) async throws -> T {
        for attempt in 1..<tries {
            do {
                return try await body()
            } catch let error as SQLError where error.code == .conflict {
                // At random, so that those that lost against each other do not meet again; SQLite tells of no end of another's.
                try await Task.sleep(for: .milliseconds(Int.random(in: 1...10) * attempt))
            }
        }
        return try await body()
    }
}
