package import Fleet
import SQL

/// What people name things by: an id, a name, or a beginning of an id that only one has.
extension Store {
    /// A shorter beginning is none: a name that is gone (`db`) must not lead to another server whose id happens to begin like it.
    package static let shortestBeginning = 8
    /// As many as a complaint lists.
    static let candidates = 10

    /// By id, name, or unique beginning of an id. Throws `notFound`, and `ambiguous` with the candidates.
    package func server(_ reference: String) async throws -> Server {
        let rows = try await read { transaction in
            try await transaction.query(
                """
                SELECT \(Server.columns) FROM servers WHERE id = \(reference) OR name = \(reference) OR \(Self.begins(with: reference))
                ORDER BY name LIMIT \(Self.candidates)
                """)
        }
        let servers = try rows.map(Server.init)
        return try Self.only(of: servers, reference, "server", id: \.id.value, name: \.name) ?? { throw Self.noServer(reference) }()
    }

    /// By id, name, or unique beginning of an id. Throws `notFound`, and `ambiguous` with the candidates.
    package func host(_ reference: String) async throws -> Host {
        let rows = try await read { transaction in
            try await transaction.query(
                """
                SELECT \(Host.columns) FROM hosts WHERE id = \(reference) OR name = \(reference) OR \(Self.begins(with: reference))
                ORDER BY name LIMIT \(Self.candidates)
                """)
        }
        let hosts = try rows.map(Host.init)
        return try Self.only(of: hosts, reference, "host", id: \.id.value, name: \.name) ?? { throw Self.noHost(reference) }()
    }

    /// By id or unique beginning of an id, of any length. Throws `notFound`, and `ambiguous` with the candidates.
    package func migration(_ reference: String) async throws -> Migration {
        let reference = reference.lowercased()
        guard Self.isBeginning(reference) else { throw Self.noMigration(reference) }
        let rows = try await read { transaction in
            try await transaction.query(
                """
                SELECT \(Migration.columns), (SELECT name FROM servers WHERE servers.id = server_id) AS server_name
                FROM migrations WHERE \(Self.range(reference)) ORDER BY id LIMIT \(Self.candidates)
                """)
        }
        let found = try rows.map { (migration: try Migration($0), server: try $0.optionalText("server_name") ?? "a server that is gone") }
        let only = try Self.only(of: found, reference, "migration", id: \.migration.id.value, name: \.server)
        return try only?.migration ?? { throw Self.noMigration(reference) }()
    }

    /// Names by id, of those that still are.
    package func serverNames(_ ids: Set<ServerID>) async throws -> [ServerID: String] {
        guard !ids.isEmpty else { return [:] }
        let rows = try await read { transaction in
            try await transaction.query("SELECT id, name FROM servers WHERE id IN (\(list: ids.map(\.value)))")
        }
        return Dictionary(try rows.map { (ServerID(try $0.text("id")), try $0.text("name")) }) { first, _ in first }
    }

    /// Ids are made of these (UUIDs in lower case).
    static func isBeginning(_ text: String) -> Bool {
        !text.isEmpty && text.allSatisfy { ("0"..."9").contains($0) || ("a"..."f").contains($0) || $0 == "-" }
    }

    private static func begins(with reference: String) -> SQLStatement {
        let reference = reference.lowercased()
        return reference.count >= shortestBeginning && isBeginning(reference) ? range(reference) : "1 = 0"
    }

    /// By the index. The tilde comes after all that ids are made of.
    static func range(_ beginning: String) -> SQLStatement { "(id >= \(beginning) AND id < \(beginning + "~"))" }

    /// An id in full is never ambiguous; nil when there is none.
    static func only<Thing>(
        of things: [Thing], _ reference: String, _ kind: String, id: (Thing) -> String, name: (Thing) -> String
    ) throws -> Thing? {
        if let exact = things.first(where: { id($0) == reference }) { return exact }
        guard things.count > 1 else { return things.first }
        let listed = things.map { "\(id($0)) (\(name($0)))" }.joined(separator: ", ")
        let more = things.count == candidates ? ", and maybe more" : ""
        throw StoreError(
            .ambiguous, "“\(reference)” stands for more than one \(kind): \(listed)\(more). Give the whole id of the one that is meant.")
    }
}
