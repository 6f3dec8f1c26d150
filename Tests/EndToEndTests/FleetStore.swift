import Backends
import Foundation

/// The store of a fleet: SQLite, or PostgreSQL where `GODWIT_TEST_STORE` is `postgres`.
struct FleetStore: Sendable {
    enum Kind: String, Codable, Sendable {
        case sqlite, postgres

        static var chosen: Kind { ProcessInfo.processInfo.environment["GODWIT_TEST_STORE"] == "postgres" ? .postgres : .sqlite }
    }

    /// For `--store`.
    let location: String
    private let schema: String?

    /// - Parameter folder: where a file can be.
    init(in folder: String) async throws {
        guard Kind.chosen == .postgres else {
            location = folder + "/store.sqlite"
            schema = nil
            return
        }
        let server = try await PostgresServer.shared()
        let schema = try await server.makeSchema()
        self.schema = schema
        location = server.url(schema: schema)
    }

    /// Ends the connections of all that use it. SQLite has none: there nobody can write for that time.
    func interrupt(for duration: Duration) async throws {
        if schema != nil {
            try await PostgresServer.shared().sql(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()")
            return
        }
        let log = URL(filePath: location).deletingLastPathComponent().appending(path: "lock-\(UUID().uuidString.prefix(8)).log")
        let script = """
            import sqlite3, sys, time
            store = sqlite3.connect(sys.argv[1], timeout=30, isolation_level=None)
            store.execute("BEGIN IMMEDIATE")
            print("locked", flush=True)
            time.sleep(float(sys.argv[2]))
            store.execute("ROLLBACK")
            """
        _ = try Spawned(["python3", "-c", script, location, String(duration.milliseconds / 1000)], log: log)
        try await eventually("the store is locked", within: .seconds(40)) {
            String(decoding: FileManager.default.contents(atPath: log.path) ?? Data(), as: UTF8.self).contains("locked")
        }
    }

    /// What the store still promises to somebody, in words; nothing when no migration is under way.
    func promises() async throws -> [String] {
        var promises: [String] = []
        for question in ["reservations", "reserved_storages", "migrations WHERE active = 1", "cleanups WHERE done_at IS NULL"] {
            let count = try await number("SELECT count(*) FROM \(question)")
            if count != 0 { promises.append("\(count) \(question)") }
        }
        return promises
    }

    private func number(_ question: String) async throws -> Int {
        let script = "import sqlite3, sys; print(sqlite3.connect(sys.argv[1], timeout=30).execute(sys.argv[2]).fetchone()[0])"
        let text =
            schema == nil
            ? try await succeed("python3", "-c", script, location, question)
            : try await succeed("psql", location, "-X", "-A", "-t", "-c", question)
        guard let number = Int(text.trimmingCharacters(in: .whitespacesAndNewlines)) else { throw Failure("\(question): \(text)") }
        return number
    }

    /// A file goes with its folder.
    func remove() async throws {
        if let schema { try await PostgresServer.shared().dropSchema(schema) }
    }
}
