import Dispatch
import Foundation
import GRDB
import SQL

/// One connection, whose statements run one after the other on its own Dispatch queue.
final class SQLiteConnection: Sendable {
    enum Role: Hashable, Sendable {
        case writer
        case reader(Int)
        /// Looks for commits of others, outside of any transaction.
        case watcher
    }

    private let queue: DatabaseQueue
    /// Touched on the connection's queue only, by whoever holds its `Database`, and once more when it is closed: never by two at once.
    nonisolated(unsafe) private var statements = SQLiteStatements()
    /// Where the bodies of its transactions run.
    let thread: SQLiteThread

    private init(_ queue: DatabaseQueue, _ role: Role) {
        self.queue = queue
        self.thread = SQLiteThread(label: "godwit.sqlite.\(role).bodies")
    }

    static func open(path: String, role: Role, patience: Duration) async throws -> SQLiteConnection {
        try await withCheckedThrowingContinuation { continuation in
            DispatchQueue.global().async {
                do {
                    let queue = try DatabaseQueue(path: path, configuration: configuration(for: role, patience: patience))
                    if role == .writer { try queue.writeWithoutTransaction(setUp) }
                    continuation.resume(returning: SQLiteConnection(queue, role))
                } catch {
                    continuation.resume(throwing: SQLError(opening: path, failed: error))
                }
            }
        }
    }

    private static func configuration(for role: Role, patience: Duration) -> Configuration {
        var configuration = Configuration()
        configuration.label = "godwit.sqlite.\(role)"
        configuration.allowsUnsafeTransactions = true
        configuration.busyMode = .callback { waitForLock(tries: $0, patience: patience) }
        if role != .writer {
            configuration.prepareDatabase { try $0.execute(sql: "PRAGMA query_only = 1") }
        }
        return configuration
    }

    /// SQLite's own busy timeout soon sleeps 100 ms at a time, far longer than any of our transactions takes. This asks after 0.2 ms
    /// and then every 2 ms. It runs on the connection's queue, which has nothing else to do.
    private static func waitForLock(tries: Int, patience: Duration) -> Bool {
        guard .milliseconds(2) * tries < patience else { return false }
        usleep(tries == 0 ? 200 : 2_000)
        return true
    }

    /// Settings that GRDB's own set-up would undo, hence after it; those that change the file only where the file is ours: empty, marked,
    /// or restored from a dump, which loses the mark.
    private static func setUp(_ database: Database) throws {
        let tables = try String.fetchAll(database, sql: "SELECT name FROM sqlite_schema WHERE type = 'table'")
        let mark = try Int64.fetchOne(database, sql: "PRAGMA application_id")
        let isMarked = mark == SQLiteDatabase.applicationID
        if isMarked || tables.isEmpty || tables.contains("schema_versions") {
            if !isMarked { try database.execute(sql: "PRAGMA application_id = \(SQLiteDatabase.applicationID)") }
            let mode = try String.fetchOne(database, sql: "PRAGMA journal_mode = WAL") ?? "none"
            guard mode == "wal" else {
                throw SQLError(
                    .storage, "SQLite keeps the journal mode \(mode) instead of WAL: the file system may not allow shared memory")
            }
            // A page that many transactions write goes into the file once for all of them.
            try database.execute(sql: "PRAGMA wal_autocheckpoint = 4000")
            // After a large batch the log is cut back to this, in bytes.
            try database.execute(sql: "PRAGMA journal_size_limit = 67108864")
        }
        try database.execute(sql: "PRAGMA synchronous = FULL")
        // KiB, so that what a group of transactions or a batch changes need not be written before its commit.
        try database.execute(sql: "PRAGMA cache_size = -65536")
    }

    /// Runs the body on the connection's queue: at once, where the caller runs on the connection's own thread, which may wait for it.
    /// Cancelling the task does not end it.
    func run<T: Sendable>(_ body: @escaping @Sendable (Database) throws -> T) async throws -> T {
        if thread.isCurrent {
            do { return try wait(body) } catch let error as DatabaseError { throw SQLError(error) }
        }
        return try await withCheckedThrowingContinuation { continuation in
            queue.asyncWriteWithoutTransaction { database in
                do {
                    continuation.resume(returning: try body(database))
                } catch let error as DatabaseError {
                    continuation.resume(throwing: SQLError(error))
                } catch {
                    continuation.resume(throwing: error)
                }
            }
        }
    }

    /// As ``run(_:)``, holding up the calling thread, which must be one of Dispatch's.
    func wait<T>(_ body: (Database) throws -> T) throws -> T {
        try queue.writeWithoutTransaction(body)
    }

    /// Runs the body in a snapshot of its own.
    func reading<T: Sendable>(_ body: @Sendable (any SQLTransaction) async throws -> T) async throws -> T {
        try await withTaskExecutorPreference(thread) {
            try await run { [self] in try execute("BEGIN", in: $0) }
            let transaction = SQLiteTransaction(self)
            let outcome = await Result { try await body(transaction) }
            transaction.end()
            try await run { [self] in if $0.isInsideTransaction { try execute("ROLLBACK", in: $0) } }
            return try outcome.get()
        }
    }

    /// To be called in ``run(_:)``, as the next one.
    func rows(of statement: SQLStatement, in database: Database) throws -> [SQLRow] {
        try statements.run(statement, on: database, wantsRows: true)
    }

    func execute(_ statement: SQLStatement, in database: Database) throws {
        _ = try statements.run(statement, on: database, wantsRows: false)
    }

    /// Ends the connection after what runs on it.
    func close() async {
        await withCheckedContinuation { continuation in
            DispatchQueue.global().async { [queue, self] in
                // Fails only while a statement is open, and none outlives its turn on the queue; the file is safe in any case.
                do {
                    queue.writeWithoutTransaction { _ in statements.close() }
                    try queue.close()
                } catch { assertionFailure("SQLite did not close: \(error)") }
                continuation.resume()
            }
        }
    }
}

extension Result where Failure == any Error {
    init(_ body: () async throws -> Success) async {
        do { self = .success(try await body()) } catch { self = .failure(error) }
    }
}
