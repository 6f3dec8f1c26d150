import Foundation
import PostgreSQL
package import SQL
import SQLite
import Testing

/// An engine that a suite runs against.
package struct Backend: Sendable, CustomTestStringConvertible {
    package let testDescription: String
    package let dialect: SQLDialect
    /// Runs the body with a way to open one and the same new, empty database any number of times, and removes it afterwards.
    package let withDatabase:
        @Sendable (_ body: (_ open: @escaping @Sendable () async throws -> any SQLDatabase) async throws -> Void) async throws -> Void

    package static let sqlite = Backend(testDescription: "SQLite", dialect: .sqlite) { body in
        try await withFolder { folder in
            try await body { try await SQLiteDatabase.open(path: folder + "/store.db") }
        }
    }

    package static let postgres = Backend(testDescription: "PostgreSQL", dialect: .postgres) { body in
        let server = try await PostgresServer.shared()
        let schema = try await server.makeSchema()
        let outcome: Result<Void, any Error>
        do {
            let url = server.url(schema: schema)
            outcome = .success(try await body { try await PostgresDatabase.open(url, connections: 6, patience: .seconds(60)) })
        } catch {
            outcome = .failure(error)
        }
        try await server.dropSchema(schema)
        try outcome.get()
    }

    /// Every one: a suite that left one out would say nothing of it.
    package static let available = [sqlite, postgres]

    /// Runs the body with so many databases over one new, empty one, each with its own connections, as processes have them.
    package func withDatabases(_ count: Int, _ body: ([any SQLDatabase]) async throws -> Void) async throws {
        try await withDatabase { open in
            var databases: [any SQLDatabase] = []
            for _ in 0..<count { databases.append(try await open()) }
            let outcome: Result<Void, any Error>
            do { outcome = .success(try await body(databases)) } catch { outcome = .failure(error) }
            for database in databases { await database.close() }
            try outcome.get()
        }
    }
}

/// Runs the body with a new folder, and removes it afterwards.
package func withFolder(_ body: (String) async throws -> Void) async throws {
    let folder = NSTemporaryDirectory() + "godwit-" + UUID().uuidString
    try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
    let outcome: Result<Void, any Error>
    do { outcome = .success(try await body(folder)) } catch { outcome = .failure(error) }
    try FileManager.default.removeItem(atPath: folder)
    try outcome.get()
}
