import Backends
import Foundation

/// The store of a fleet: SQLite, or PostgreSQL where `GODWIT_TEST_STORE` is `postgres`.
struct FleetStore: Sendable {
    /// For `--store`.
    let location: String
    private let schema: String?

    /// - Parameter folder: where a file can be.
    init(in folder: String) async throws {
        guard ProcessInfo.processInfo.environment["GODWIT_TEST_STORE"] == "postgres" else {
            location = folder + "/store.sqlite"
            schema = nil
            return
        }
        let server = try await PostgresServer.shared()
        let schema = try await server.makeSchema()
        self.schema = schema
        location = server.url(schema: schema)
    }

    /// A file goes with its folder.
    func remove() async throws {
        if let schema { try await PostgresServer.shared().dropSchema(schema) }
    }
}
