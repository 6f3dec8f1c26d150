package import SQL
import Store

/// Takes everything in one store over into another, empty one, of the same engine or of the other: for who outgrows the embedded default.
///
/// The source is read in one snapshot and is not changed; nothing else may use it any more, since what is written to it afterwards is not
/// taken along. The target gets all of it in one transaction, after what arrived was read back and found to be what was sent, by the number
/// of rows and by a SHA-256 of their values.
package struct StoreCopy: Sendable {
    /// One table's share.
    package struct Table: Hashable, Sendable {
        package let name: String
        package let rows: Int
        /// SHA-256 of all values in the order of the key, in hexadecimal.
        package let hash: String
    }

    package struct Failure: Error, Hashable, CustomStringConvertible {
        package let description: String
    }

    /// In an order in which each table comes after those that it refers to, with its key. What is not here is made by the schema itself.
    private static let tables: [(name: String, key: [String])] = [
        ("hosts", ["id"]), ("storages", ["host_id", "name"]), ("networks", ["host_id", "name"]), ("servers", ["id"]),
        ("server_groups", ["id"]), ("server_group_members", ["group_id", "server_id"]), ("server_disks", ["server_id", "storage"]),
        ("queue_limits", ["name"]), ("batches", ["id"]), ("migrations", ["id"]), ("steps", ["migration_id", "attempt", "step"]),
        ("transitions", ["seq"]), ("history_heads", ["migration_id"]),
        ("reservations", ["migration_id"]), ("reserved_storages", ["migration_id", "storage"]), ("cleanups", ["id"]),
    ]
    /// Of the schema's tables those that are not copied.
    private static let ownOfEach: Set<String> = ["schema_versions", "write_receipts"]

    private let source: any SQLDatabase
    private let target: any SQLDatabase

    package init(from source: any SQLDatabase, to target: any SQLDatabase) {
        self.source = source
        self.target = target
    }

    /// - Throws: ``Failure`` where the source is not of this Godwit's version, the target is not empty, or what arrived is not what was sent;
    ///   the target is then as it was, but for the schema.
    package func run() async throws -> [Table] {
        let version = try await SchemaVersion.look(at: source)
        guard version.present == version.newest else {
            throw Failure(
                description: version.present == 0
                    ? "The source is empty; there is nothing to copy."
                    : "The source has schema version \(version.present), and this Godwit's is \(version.newest); upgrade it first.")
        }
        // Makes the schema.
        _ = try await Store(target)
        return try await source.read { reader in
            let from = Side(transaction: reader, dialect: source.dialect)
            try await requireAllKnown(from)
            return try await target.write { writer in
                try await copy(from, to: Side(transaction: writer, dialect: target.dialect))
            }
        }
    }

    private func requireAllKnown(_ side: Side) async throws {
        let known = Self.ownOfEach.union(Self.tables.map(\.name))
        if let other = try await side.tables().first(where: { !known.contains($0) }) {
            throw Failure(description: "The source has a table \(other), which this Godwit would leave behind.")
        }
    }

    private func copy(_ from: Side, to target: Side) async throws -> [Table] {
        for (table, _) in Self.tables where try await target.hasRows(table) {
            throw Failure(description: "The target is not empty: its table \(table) has rows. Give an empty one.")
        }
        let rules = try await target.suspendRules(of: Self.tables.map(\.name))
        var sent: [Table] = []
        for (table, key) in Self.tables {
            var hash = RowHash()
            try await from.pages(of: table, key) { rows in
                for row in rows { hash.add(row) }
                try await target.insert(rows, into: table)
            }
            sent.append(Table(name: table, rows: hash.rows, hash: hash.text))
        }
        try await target.resumeRules(rules)
        for (table, (name, key)) in zip(sent, Self.tables) {
            var hash = RowHash()
            try await target.pages(of: name, key) { rows in
                for row in rows { hash.add(row) }
            }
            guard hash.rows == table.rows, hash.text == table.hash else {
                throw Failure(
                    description:
                        "Of the table \(name) \(table.rows) rows were sent and \(hash.rows) arrived, or others than were sent. Nothing was copied."
                )
            }
        }
        return sent
    }
}
