import ArgumentParser
import Databases
import SQL
import Store

/// The rows that a submitted batch left, into another store by the engine's own C interface, in one transaction: many rows a statement in
/// SQLite, COPY in PostgreSQL.
struct SubmitFloor: AsyncParsableCommand {
    static let configuration = CommandConfiguration(abstract: "The rows of a submitted batch, by the engine's C interface.")
    private static let tables = ["batches", "migrations", "transitions", "history_heads"]

    @OptionGroup var place: Place
    @Option(help: "The store with the batch; the other one has the same hosts and servers and no migration.") var recorded: String

    func run() async throws {
        let location = try DatabaseLocation(recorded)
        let database = try await location.open()
        let content = try await database.read { transaction in
            var content: [(table: String, columns: [String], rows: [[SQLValue]])] = []
            for table in Self.tables {
                let columns = try await transaction.query(Self.columns(of: table, location.dialect)).map { try $0.text("name") }
                let list = columns.joined(separator: ", ")
                let rows = try await transaction.query(SQLStatement(stringLiteral: "SELECT \(list) FROM \(table)"))
                content.append((table, columns, rows.map(\.values)))
            }
            return content
        }
        await database.close()
        // Brings the schema's step, should it be missing, before the clock runs.
        try await place.with { _ in }
        let rows = content.reduce(0) { $0 + $1.rows.count }
        let seconds =
            switch location.dialect {
            case .sqlite: try Self.fill(try RawSQLite(path: place.store), content)
            case .postgres: try Self.fill(try RawPostgres(url: place.store), content)
            }
        tell(["seconds": seconds, "rows": Double(rows)])
    }

    /// Without those that the engine makes out of others.
    private static func columns(of table: String, _ dialect: SQLDialect) -> SQLStatement {
        switch dialect {
        case .sqlite: "SELECT name FROM pragma_table_info(\(table))"
        case .postgres:
            """
            SELECT CAST(attname AS TEXT) AS name FROM pg_attribute
            WHERE attrelid = to_regclass(\(table)) AND attnum > 0 AND NOT attisdropped AND attgenerated = ''
            """
        }
    }

    private static func fill(_ session: RawSQLite, _ content: [(table: String, columns: [String], rows: [[SQLValue]])]) throws -> Double {
        // SQLite takes no more than 32,766 values in a statement.
        let rowsPerStatement = 100
        let begun = ContinuousClock.now
        try session.begin(writing: true)
        for (table, columns, rows) in content {
            let head = SQLStatement(stringLiteral: "INSERT INTO \(table) (\(columns.joined(separator: ", "))) VALUES ")
            for start in stride(from: 0, to: rows.count, by: rowsPerStatement) {
                var statement = head
                for (place, row) in rows[start..<min(start + rowsPerStatement, rows.count)].enumerated() {
                    statement.parts.append(.text(place == 0 ? "(" : ", ("))
                    for (column, value) in row.enumerated() {
                        if column > 0 { statement.parts.append(.text(", ")) }
                        statement.parts.append(.value(value))
                    }
                    statement.parts.append(.text(")"))
                }
                try session.run(statement)
            }
        }
        try session.commit()
        let seconds = (ContinuousClock.now - begun).seconds
        session.close()
        return seconds
    }

    private static func fill(_ session: RawPostgres, _ content: [(table: String, columns: [String], rows: [[SQLValue]])]) throws -> Double {
        try session.run("SELECT transitions_month(CAST(extract(epoch FROM now()) * 1000 AS BIGINT))")
        let texts = try content.map { table, columns, rows in
            (table, columns, try rows.map { try RawPostgres.copyLine($0) }.joined())
        }
        let begun = ContinuousClock.now
        try session.begin(writing: true)
        for (table, columns, text) in texts { try session.copy(text, into: table, columns) }
        try session.commit()
        let seconds = (ContinuousClock.now - begun).seconds
        session.close()
        return seconds
    }
}
