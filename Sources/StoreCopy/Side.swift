import SQL

/// One of the two stores that a copy has to do with, in the transaction in which it sees it.
struct Side {
    let transaction: any SQLTransaction
    let dialect: SQLDialect

    /// Rows that are read and written at once.
    private static let page = 500

    private static func sql(_ text: String) -> SQLStatement { SQLStatement(parts: [.text(text)]) }

    func tables() async throws -> [String] {
        let query: SQLStatement =
            switch dialect {
            case .sqlite: "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite~_%' ESCAPE '~' ORDER BY name"
            // A month's part of the history is no table of its own.
            case .postgres:
                """
                SELECT CAST(c.relname AS TEXT) AS name FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
                WHERE n.nspname = current_schema() AND c.relkind IN ('r', 'p') AND NOT c.relispartition ORDER BY c.relname
                """
            }
        return try await transaction.query(query).map { try $0.text("name") }
    }

    func hasRows(_ table: String) async throws -> Bool {
        try await !transaction.query(Self.sql("SELECT 1 AS one FROM \(table) LIMIT 1")).isEmpty
    }

    // MARK: rules

    /// Takes away the triggers, which are for what happens and not for what has happened. Returns what brings them back.
    func suspendRules(of tables: [String]) async throws -> [String] {
        switch dialect {
        case .sqlite:
            let triggers = try await transaction.query("SELECT name, sql FROM sqlite_schema WHERE type = 'trigger' ORDER BY name")
            for trigger in triggers { try await transaction.execute(Self.sql("DROP TRIGGER \(try trigger.text("name"))")) }
            return try triggers.map { try $0.text("sql") }
        case .postgres:
            for table in tables { try await transaction.execute(Self.sql("ALTER TABLE \(table) DISABLE TRIGGER USER")) }
            return tables.map { "ALTER TABLE \($0) ENABLE TRIGGER USER" }
        }
    }

    func resumeRules(_ rules: [String]) async throws {
        if dialect == .postgres {
            // Checks of references that wait for the transaction's end would stand in the way.
            try await transaction.execute("SET CONSTRAINTS ALL IMMEDIATE")
            _ = try await transaction.query(
                """
                SELECT setval(pg_get_serial_sequence('transitions', 'seq'), (SELECT COALESCE(MAX(seq), 0) + 1 FROM transitions), false) AS next
                """)
        }
        for rule in rules { try await transaction.execute(Self.sql(rule)) }
    }

    // MARK: rows

    /// Page after page in the order of the key, each row with its columns in the order of their names: engines have them in another one.
    func pages(of table: String, _ key: [String], _ body: ([SQLRow]) async throws -> Void) async throws {
        let columns = try await columns(of: table).joined(separator: ", ")
        let order = key.joined(separator: ", ")
        var last: [SQLValue]?
        while true {
            var statement = Self.sql("SELECT \(columns) FROM \(table)")
            if let last { statement.parts += [.text(" WHERE (\(order)) > (")] + Self.list(last) + [.text(")")] }
            statement.parts.append(.text(" ORDER BY \(order) LIMIT \(Self.page)"))
            let rows = try await transaction.query(statement)
            guard let end = rows.last else { return }
            try await body(rows)
            last = try key.map { try end.value($0) }
        }
    }

    func insert(_ rows: [SQLRow], into table: String) async throws {
        guard let columns = rows.first?.columns else { return }
        if dialect == .postgres, table == "transitions" {
            let times = try Set(rows.map { try $0.value("at") }).map {
                SQLStatement(parts: [.text("(CAST("), .value($0), .text(" AS BIGINT))")])
            }
            let list = SQLStatement(parts: Array(times.map(\.parts).joined(separator: [.text(", ")])))
            _ = try await transaction.query("SELECT COUNT(transitions_month(v.at)) AS n FROM (VALUES \(list)) AS v (at)")
        }
        var statement = Self.sql("INSERT INTO \(table) (\(columns.joined(separator: ", "))) VALUES ")
        for (index, row) in rows.enumerated() {
            statement.parts += [.text(index == 0 ? "(" : ", (")] + Self.list(row.values) + [.text(")")]
        }
        try await transaction.execute(statement)
    }

    private static func list(_ values: [SQLValue]) -> [SQLStatement.Part] {
        values.enumerated().flatMap { place, value in place == 0 ? [.value(value)] : [.text(", "), .value(value)] }
    }

    /// Without those that the engine makes out of others.
    private func columns(of table: String) async throws -> [String] {
        let query: SQLStatement =
            switch dialect {
            case .sqlite: "SELECT name FROM pragma_table_info(\(table))"
            case .postgres:
                """
                SELECT CAST(attname AS TEXT) AS name FROM pg_attribute
                WHERE attrelid = to_regclass(\(table)) AND attnum > 0 AND NOT attisdropped AND attgenerated = ''
                """
            }
        return try await transaction.query(query).map { try $0.text("name") }.sorted()
    }
}
