import Failpoints
import Fleet
package import SQL

/// Every table and every query of Godwit, over either engine. All state that must survive a process is here and nowhere else.
package struct Store: Sendable {
    package let database: any SQLDatabase
    let dialect: Dialect
    let ids: OrderedIDs

    /// Opens the store: creates the schema in an empty database, brings an older one up to date in one transaction.
    ///
    /// - Parameter ids: makes those of migrations.
    /// - Throws: ``StoreError`` `incompatible` for a database of a newer version or of something else.
    package init(_ database: any SQLDatabase, ids: OrderedIDs = .ofProcess) async throws {
        try await self.init(database, schema: SchemaStep.all(for: database.dialect), ids: ids)
    }

    /// With another schema than the one that this Godwit carries.
    package init(_ database: any SQLDatabase, schema: [SchemaStep], ids: OrderedIDs = .ofProcess) async throws {
        self.ids = ids
        self.database = database
        self.dialect = Dialect(database.dialect)
        let upgrade = SchemaUpgrade(steps: schema, dialect: dialect)
        try await Self.telling { try await upgrade.run(on: database) }
    }

    /// Opens a database and the store in it; closes the database again where the store cannot be had.
    ///
    /// - Throws: ``StoreError`` `unavailable` when the database does not open; else see ``init(_:)``.
    package static func open(_ open: () async throws -> any SQLDatabase) async throws -> Store {
        let database = try await telling(open)
        do {
            return try await Store(database)
        } catch {
            await database.close()
            throw error
        }
    }

    /// See ``SQLDatabase/changes()``.
    package func changes() -> AsyncStream<Void> { database.changes() }

    // MARK: for every query

    func read<T: Sendable>(_ body: @Sendable (any SQLTransaction) async throws -> T) async throws -> T {
        try await Self.telling { try await database.read(body) }
    }

    @discardableResult
    func write<T: Sendable>(_ body: @Sendable (any SQLTransaction) async throws -> T) async throws -> T {
        try await Self.telling { try await database.write(body) }
    }

    /// The same for what a migration's way is made of, with its failure points.
    @discardableResult
    func write<T: Sendable>(
        _ kind: StoreWrite, _ body: @Sendable (any SQLTransaction) async throws -> T
    ) async throws -> T {
        try await Self.failing(.store(kind, .before))
        let result = try await write(body)
        try await Self.failing(.store(kind, .after))
        return result
    }

    /// A write that is made to fail is one of which nobody knows whether it took place.
    private static func failing(_ point: Failpoint) async throws {
        do {
            try await Failpoints.reach(point)
        } catch let failure as FailpointFailure {
            throw StoreError(.unavailable, "\(failure)")
        }
    }

    /// To be called before anything is added up of which the transaction will promise a part.
    func lockPlacement(in transaction: any SQLTransaction) async throws {
        if let lock = dialect.lockPlacement { _ = try await transaction.query(lock) }
    }

    /// Says in the store's words what went wrong in the database.
    static func telling<T>(_ body: () async throws -> T) async throws -> T {
        do {
            return try await body()
        } catch let error as SQLError {
            throw StoreError(error)
        }
    }
}

extension StoreError {
    fileprivate init(_ error: SQLError) {
        switch error.code {
        case .conflict:
            self.init(.unavailable, "The database was kept locked by others for too long. Try again.", cause: error)
        case .connection:
            self.init(.unavailable, "The connection to the database ended. Try again once it is reachable.", cause: error)
        case .storage:
            self.init(
                .unavailable, "The database cannot be read or written: look at the space and the permissions of its disk.", cause: error)
        case .constraint(let name):
            self.init(.invalid, "The change would break a rule that the database keeps: \(name).", cause: error)
        case .statement:
            self.init(.invalid, "The database did not understand what this Godwit asked: a defect.", cause: error)
        }
    }
}

extension SQLStatement {
    /// All of the conditions, for a `WHERE`; true without any.
    static func all(_ conditions: [SQLStatement]) -> SQLStatement {
        conditions.reduce("1 = 1") { "\($0) AND \($1)" }
    }
}
