import CSchema
import Fleet
import Foundation
import SQL

/// All that differs between the two engines. Everything else in this room is SQL that both understand.
struct Dialect: Sendable {
    private let engine: SQLDialect
    /// The store's clock: milliseconds since 1970, as an integer expression.
    let now: SQLStatement
    /// The same for whoever is about to write to the history: PostgreSQL keeps it by months, and has a place for the row then.
    let historyTime: SQLStatement
    /// Whether the database has any table: one row with a column `found`, 0 or 1.
    let hasTables: SQLStatement
    /// Whether it has the table of schema versions: likewise.
    let hasVersions: SQLStatement
    /// Ends a `SELECT` whose rows must stay as they are until the transaction's end. SQLite's writers are alone anyway.
    let lock: SQLStatement
    /// The same, leaving out rows that another transaction holds.
    let lockFree: SQLStatement
    /// As ``lock``, where a statement is made for nothing else; nil where none is needed.
    let lockAll: SQLStatement?
    /// Makes whoever is about to add up what is promised, and to promise more, alone in that until the transaction's end.
    let lockPlacement: SQLStatement?
    /// The same for what a migration will need, on whatever of the fleet that is about.
    let lockPlacementOf: @Sendable (Migration, Reservation) throws -> SQLStatement?
    /// When one of the migrations that failed did so; and what leads to the index of those.
    let failedAt: SQLStatement
    let hasFailed: SQLStatement
    /// Takes away what is kept for past months of which nothing is left.
    let dropEmptyMonths: SQLStatement?
    /// Makes whoever is about to change the schema alone in that.
    let lockSchema: SQLStatement?
    /// The schema's steps, from number 1 on.
    let schema: [SchemaStep]

    init(_ engine: SQLDialect) {
        self.engine = engine
        switch engine {
        case .sqlite:
            // `unixepoch('subsec')` would give NULL before SQLite 3.42.
            now = "CAST(ROUND((julianday('now') - 2440587.5) * 86400000) AS INTEGER)"
            historyTime = now
            hasTables = "SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite~_%' ESCAPE '~') AS found"
            hasVersions = "SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = 'schema_versions') AS found"
            lock = ""
            lockFree = ""
            lockAll = nil
            lockPlacement = nil
            lockPlacementOf = { _, _ in nil }
            failedAt = "finished_at"
            hasFailed = "state = 'failed'"
            dropEmptyMonths = nil
            lockSchema = nil
            schema = SchemaStep.embedded(schema_sqlite)
        case .postgres:
            // Stable within a statement, so that indexes may be asked by it; `clock_timestamp()` is not.
            now = "CAST(EXTRACT(EPOCH FROM statement_timestamp()) * 1000 AS BIGINT)"
            historyTime = "history_time()"
            // The driver keeps one of its own there.
            hasTables = """
                SELECT EXISTS (SELECT 1 FROM pg_catalog.pg_tables WHERE schemaname = current_schema() AND tablename <> 'write_receipts')
                    AS found
                """
            hasVersions = "SELECT CASE WHEN to_regclass('schema_versions') IS NULL THEN 0 ELSE 1 END AS found"
            // Rows that refer to a locked one may be written meanwhile: `FOR UPDATE` would hold them up.
            lock = "FOR NO KEY UPDATE"
            lockFree = "FOR NO KEY UPDATE SKIP LOCKED"
            lockAll = lock
            lockPlacement = "SELECT placement_lock()"
            failedAt = "failed_at"
            hasFailed = "failed_at IS NOT NULL"
            lockPlacementOf = { migration, reservation in
                let storages = try JSON.text(reservation.storageBytes.keys.sorted())
                return """
                    SELECT placement_lock_of(\(reservation.host.value), \(migration.source.value), \(migration.server.value), \(storages))
                    """
            }
            dropEmptyMonths = "SELECT transitions_drop_empty()"
            lockSchema = "SELECT pg_advisory_xact_lock(1198482551, hashtext(current_schema() || '.schema'))"
            schema = SchemaStep.embedded(schema_postgres)
        }
    }
}

extension Dialect {
    /// A table of the texts of a JSON list: `position` from 0 on, `reference`.
    func elements(_ json: String) -> SQLStatement {
        switch engine {
        case .sqlite: "(SELECT key AS position, value AS reference FROM json_each(\(json)))"
        case .postgres:
            """
            (SELECT e.number - 1 AS position, e.reference
                FROM jsonb_array_elements_text(CAST(\(json) AS jsonb)) WITH ORDINALITY AS e(reference, number))
            """
        }
    }

    /// A table of a JSON list of ``ProgressReport``: `migration`, `epoch`, `progress` (text).
    func reports(_ json: String) -> SQLStatement {
        switch engine {
        case .sqlite:
            """
            (SELECT json_extract(value, '$.migration') AS migration, json_extract(value, '$.epoch') AS epoch,
                json_extract(value, '$.progress') AS progress FROM json_each(\(json)))
            """
        case .postgres:
            """
            (SELECT r.migration, r.epoch, r.progress
                FROM jsonb_to_recordset(CAST(\(json) AS jsonb)) AS r(migration TEXT, epoch BIGINT, progress TEXT))
            """
        }
    }

    /// A field of a JSON object, as text; null where there is none.
    func field(_ name: String, of column: SQLStatement) -> SQLStatement {
        switch engine {
        case .sqlite: "json_extract(\(column), \("$." + name))"
        case .postgres: "(CAST(\(column) AS json) ->> \(name))"
        }
    }

    /// Twelve hexadecimal digits of an integer expression.
    func hexadecimal(_ expression: SQLStatement) -> SQLStatement {
        switch engine {
        case .sqlite: "printf('%012x', \(expression))"
        case .postgres: "lpad(to_hex(\(expression)), 12, '0')"
        }
    }
}

/// A rule of the database whose breach means something to a caller, by the names that the engines report.
enum Rule {
    case oneUnfinishedMigration
    case serverNameUnique
    case serverIDUnique
    case groupNameUnique

    private var names: Set<String> {
        switch self {
        case .oneUnfinishedMigration: ["migrations.server_id", "migrations_unfinished"]
        case .serverNameUnique: ["servers.name", "servers_name_key"]
        case .serverIDUnique: ["servers.id", "servers_pkey"]
        case .groupNameUnique: ["server_groups.name", "server_groups_name_key"]
        }
    }

    /// Whether an error says that this rule would have been broken.
    func isBroken(by error: SQLError) -> Bool {
        if case .constraint(let name) = error.code { names.contains(name) } else { false }
    }
}

extension SchemaStep {
    fileprivate static func embedded(_ table: (UnsafeMutablePointer<Int>) -> UnsafePointer<schema_step>?) -> [SchemaStep] {
        var count = 0
        guard let steps = table(&count) else { return [] }
        return UnsafeBufferPointer(start: steps, count: count).map { step in
            SchemaStep(
                number: Int(step.number), name: String(cString: step.name),
                text: String(decoding: UnsafeRawBufferPointer(start: step.text, count: step.length), as: UTF8.self))
        }
    }
}
