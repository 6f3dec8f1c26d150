package import SQL

/// One step of the schema: what leads a database from the version before it to its own.
package struct SchemaStep: Hashable, Sendable {
    /// From 1 on, without gaps.
    package let number: Int
    package let name: String
    package let text: String

    package init(number: Int, name: String, text: String) {
        self.number = number
        self.name = name
        self.text = text
    }

    /// The steps that this Godwit carries for an engine.
    package static func all(for engine: SQLDialect) -> [SchemaStep] { Dialect(engine).schema }
}

/// Brings a database to the newest step of a schema.
struct SchemaUpgrade: Sendable {
    let steps: [SchemaStep]
    let dialect: Dialect

    /// - Throws: ``StoreError`` `incompatible`, with the database untouched.
    func run(on database: any SQLDatabase) async throws {
        guard let newest = steps.last else {
            throw StoreError(.incompatible, "This Godwit has no schema for the database's engine.")
        }
        if try await database.read({ try await version(of: $0) }) == newest.number { return }
        try await database.write { transaction in
            if let lock = dialect.lockSchema { _ = try await transaction.query(lock) }
            // Another process may have been quicker.
            let version = try await version(of: transaction)
            for step in steps where step.number > version {
                try await transaction.script(step.text)
                try await transaction.execute(
                    "INSERT INTO schema_versions (number, name, applied_at) VALUES (\(step.number), \(step.name), \(dialect.now))")
            }
        }
    }

    /// The number of the last step that the database has seen; 0 for an empty one.
    func version(of transaction: any SQLTransaction) async throws -> Int {
        guard try await transaction.query(dialect.hasVersions).first?.flag("found") == true else {
            guard try await transaction.query(dialect.hasTables).first?.flag("found") != true else {
                throw StoreError(
                    .incompatible,
                    "The database is not Godwit's: it has tables, and none of them says its schema's version. Name another one.")
            }
            return 0
        }
        let seen: [SQLRow]
        do {
            seen = try await transaction.query("SELECT number, name FROM schema_versions ORDER BY number")
        } catch let error as SQLError where error.code == .statement {
            throw StoreError(
                .incompatible, "The database is not Godwit's: its table schema_versions is another one. Name another database.",
                cause: error)
        }
        let newest = steps.last?.number ?? 0
        let version = try seen.last.map { Int(try $0.integer("number")) } ?? 0
        guard version <= newest else {
            throw StoreError(
                .incompatible,
                "The database has schema version \(version), and this Godwit knows them up to \(newest): it was used by a newer Godwit. Use that one or a later one."
            )
        }
        for (row, step) in zip(seen, steps) {
            let (number, name) = (try row.integer("number"), try row.text("name"))
            guard number == step.number, name == step.name else {
                throw StoreError(
                    .incompatible,
                    "The database is not this Godwit's: its schema step \(number) is called \(name), not \(step.name).")
            }
        }
        return version
    }
}

/// Which version of the schema a database has, and which one this Godwit brings it to.
package struct SchemaVersion: Hashable, Sendable {
    /// 0 in an empty database.
    package let present: Int
    package let newest: Int

    /// Looks, and changes nothing.
    ///
    /// - Throws: ``StoreError`` `incompatible`, `unavailable`.
    package static func look(at database: any SQLDatabase) async throws -> SchemaVersion {
        let dialect = Dialect(database.dialect)
        let upgrade = SchemaUpgrade(steps: dialect.schema, dialect: dialect)
        let present = try await Store.telling { try await database.read { try await upgrade.version(of: $0) } }
        return SchemaVersion(present: present, newest: dialect.schema.last?.number ?? 0)
    }
}
