import SQL

/// Rows into SQLite in one transaction, triggers and indexes away meanwhile.
final class SQLiteSink: FillSink {
    private let session: RawSQLite
    private let again: [String]

    init(path: String) throws {
        session = try RawSQLite(path: path)
        try session.run("BEGIN IMMEDIATE")
        let made = try session.texts(
            """
            SELECT type || ' ' || name, sql FROM sqlite_schema
            WHERE sql IS NOT NULL AND (type = 'trigger' OR type = 'index' AND tbl_name IN ('migrations', 'transitions')) ORDER BY rowid
            """)
        for thing in made { try session.run(SQLStatement(stringLiteral: "DROP \(thing[0])")) }
        again = made.map { $0[1] }
    }

    func add(_ life: FilledLife, sequence: inout Int64) throws {
        try insert("migrations", FilledLife.migrationColumns, life.migration)
        for (values, hash) in life.transitions {
            sequence += 1
            try insert("transitions", FilledLife.transitionColumns, [.integer(sequence)] + values + [.text(hash)])
        }
        let last = life.transitions[life.transitions.count - 1].hash
        try insert("history_heads", FilledLife.headColumns, [life.migration[0], .integer(Int64(life.transitions.count)), .text(last)])
    }

    func finish(nextSequence: Int64) throws {
        for sql in again { try session.run(SQLStatement(stringLiteral: sql)) }
        try session.run("COMMIT")
        try session.run("ANALYZE")
        try session.run("PRAGMA wal_checkpoint(TRUNCATE)")
        session.close()
    }

    private func insert(_ table: String, _ columns: [String], _ values: [SQLValue]) throws {
        let head = SQLStatement(stringLiteral: "INSERT INTO \(table) (\(columns.joined(separator: ", "))) VALUES (")
        try session.run("\(head)\(values: values))")
    }
}
