import Backends
import SQL
import Testing

@Suite struct StatementTests {
    @Test(arguments: Backend.available)
    func `interpolated values never become SQL text`(_ backend: Backend) async throws {
        let name = "x'); DROP TABLE t; --"
        let statement: SQLStatement = "SELECT \(name) AS name, \(7) AS seven, \(true) AS yes, \(nil as String?) AS none"
        #expect(!statement.parts.contains { if case .text(let text) = $0 { text.contains("DROP") } else { false } })
        try await withDatabase(backend) { database in
            let row = try #require(try await database.read { try await $0.query(statement) }.first)
            #expect(try row.text("name") == name)
            #expect(try row.integer("seven") == 7)
            #expect(try row.flag("yes"))
            #expect(try row.optionalText("none") == nil)
        }
    }

    @Test(arguments: Backend.available)
    func `a statement within a statement brings its values along, in order`(_ backend: Backend) async throws {
        let condition: SQLStatement = "n > \(1) AND n < \(5)"
        let statement: SQLStatement = "SELECT id FROM t WHERE id <> \(9) AND \(condition) AND n <> \(3) ORDER BY id"
        try await withDatabase(backend) { database in
            try await database.write { transaction in
                for number in 1...6 { try await transaction.execute("INSERT INTO t VALUES (\(number), \(number))") }
            }
            let ids = try await database.read { try await $0.query(statement).map { try $0.integer("id") } }
            #expect(ids == [2, 4])
        }
    }

    @Test(arguments: Backend.available, [[], ["a"], ["a", "b'", "c"]])
    func `a list of values stands in IN, also when it is empty`(_ backend: Backend, _ names: [String]) async throws {
        try await withDatabase(backend) { database in
            let found = try await database.read { transaction in
                try await transaction.query("SELECT 1 AS one WHERE 'a' IN (\(list: names))").count
            }
            #expect(found == (names.isEmpty ? 0 : 1))
        }
    }

    @Test(
        arguments: Backend.available,
        [
            SQLValue.null, .integer(.min), .integer(.max), .real(-0.1), .text(""), .text("ü — 🐦 ' \" ; ?"), .blob([]), .blob([0, 255, 1]),
        ])
    func `values come back as they were given`(_ backend: Backend, _ value: SQLValue) async throws {
        try await withDatabase(backend) { database in
            let row = try await database.write { transaction in
                try await transaction.script("CREATE TABLE v (v \(backend.dialect == .sqlite ? "ANY) STRICT" : "\(value.column))")")
                return try await transaction.query("INSERT INTO v VALUES (\(value)) RETURNING v").first
            }
            #expect(row?.values == [value])
            #expect(try await database.read { try await $0.query("SELECT v FROM v").first?.values } == [value])
        }
    }

    @Test(arguments: Backend.available)
    func `a text with a zero byte is refused, not cut off`(_ backend: Backend) async throws {
        try await withDatabase(backend) { database in
            await refusal(.statement) { try await database.read { try await $0.query("SELECT \("a\0b")") } }
        }
    }

    @Test func `a column that is not there or of another type is told by name`() async throws {
        let row = SQLRow(columns: ["a", "b"], values: [.integer(2), .null])
        #expect(throws: SQLError.self) { try row.text("a") }
        #expect(throws: SQLError.self) { try row.flag("a") }
        #expect(throws: SQLError.self) { try row.integer("b") }
        #expect(try row.optionalInteger("b") == nil)
        #expect { try row.integer("c") } throws: { "\($0)".contains("no column c") }
    }

    @Test(arguments: Backend.available)
    func `a change tells how many rows it touched`(_ backend: Backend) async throws {
        try await withDatabase(backend) { database in
            let counts = try await database.write { transaction in
                [
                    try await transaction.execute("INSERT INTO t VALUES (1, 1), (2, 2), (3, 3)"),
                    try await transaction.execute("UPDATE t SET n = 0 WHERE id > \(1)"),
                    try await transaction.execute("UPDATE t SET n = 0 WHERE id > \(9)"),
                ]
            }
            #expect(counts == [3, 2, 0])
        }
    }

    @Test(arguments: Backend.available)
    func `broken rules are told by their names`(_ backend: Backend) async throws {
        let isSQLite = backend.dialect == .sqlite
        try await withDatabase(backend) { database in
            try await database.write { transaction in
                try await transaction.script(
                    """
                    CREATE TABLE p (
                        id INTEGER PRIMARY KEY, a TEXT UNIQUE, b INTEGER, parent INTEGER REFERENCES p (id),
                        CONSTRAINT p_b_small CHECK (b < 10)
                    ) \(isSQLite ? "STRICT" : "");
                    INSERT INTO p VALUES (1, 'one', 1, NULL);
                    """)
                try await transaction.script(
                    isSQLite
                        ? "CREATE TRIGGER p_kept BEFORE DELETE ON p BEGIN SELECT RAISE(ABORT, 'p_kept'); END"
                        : """
                        CREATE FUNCTION p_kept() RETURNS TRIGGER LANGUAGE plpgsql AS $$
                        BEGIN RAISE EXCEPTION 'kept' USING ERRCODE = 'integrity_constraint_violation', CONSTRAINT = 'p_kept'; END $$;
                        CREATE TRIGGER p_kept BEFORE DELETE ON p FOR EACH ROW EXECUTE FUNCTION p_kept();
                        """)
            }
            func attempt(_ statement: SQLStatement) async throws { try await database.write { try await $0.execute(statement) } }
            await refusal(.constraint(isSQLite ? "p.a" : "p_a_key")) { try await attempt("INSERT INTO p VALUES (2, 'one', 1, NULL)") }
            await refusal(.constraint(isSQLite ? "p.id" : "p_pkey")) { try await attempt("INSERT INTO p VALUES (1, 'two', 1, NULL)") }
            await refusal(.constraint("p_b_small")) { try await attempt("UPDATE p SET b = 10") }
            await refusal(.constraint("p_kept")) { try await attempt("DELETE FROM p") }
            await refusal(.constraint(isSQLite ? "FOREIGN KEY constraint failed" : "p_parent_fkey")) {
                try await attempt("UPDATE p SET parent = 7")
            }
            await refusal(.statement) { try await attempt("UPDATE p SET b = 'text'") }
            // Nothing of all that is left.
            #expect(try await database.integer("SELECT b FROM p") == 1)
            await refusal(.statement) { try await attempt("UPDATE nowhere SET b = 1") }
        }
    }
}

extension SQLValue {
    /// The type of a column of PostgreSQL's that takes it.
    fileprivate var column: String {
        switch self {
        case .integer: "BIGINT"
        case .real: "DOUBLE PRECISION"
        case .null, .text: "TEXT"
        case .blob: "BYTEA"
        }
    }
}
