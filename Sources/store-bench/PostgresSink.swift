import Foundation
import SQL

/// Rows into PostgreSQL by COPY, triggers and indexes away meanwhile.
final class PostgresSink: FillSink {
    /// Bytes of a table's rows that are sent at once.
    private static let portion = 4 << 20

    private let session: RawPostgres
    private let again: [String]
    private var texts: [(table: String, columns: [String], text: String)] = [
        ("migrations", FilledLife.migrationColumns, ""), ("transitions", FilledLife.transitionColumns, ""),
        ("history_heads", FilledLife.headColumns, ""),
    ]

    init(url: String, from first: Int64, until last: Int64) throws {
        session = try RawPostgres(url: url)
        try session.run("BEGIN")
        try session.run("SET LOCAL session_replication_role = replica")
        for month in stride(from: first, through: last + 28 * 86_400_000, by: 28 * 86_400_000) {
            try session.run("SELECT transitions_month(CAST(\(month) AS BIGINT))")
        }
        let made = try session.texts(
            """
            SELECT indexname, indexdef FROM pg_indexes i WHERE schemaname = current_schema() AND tablename IN ('migrations', 'transitions')
                AND NOT EXISTS (SELECT 1 FROM pg_constraint c WHERE c.conname = i.indexname)
            """)
        for index in made { try session.run(SQLStatement(stringLiteral: "DROP INDEX \(index[0])")) }
        again = made.map { $0[1].replacingOccurrences(of: " ON ONLY ", with: " ON ") }
    }

    func add(_ life: FilledLife, sequence: inout Int64) throws {
        try append(0, life.migration)
        for (values, hash) in life.transitions {
            sequence += 1
            try append(1, [.integer(sequence)] + values + [.text(hash)])
        }
        let last = life.transitions[life.transitions.count - 1].hash
        try append(2, [life.migration[0], .integer(Int64(life.transitions.count)), .text(last)])
    }

    func finish(nextSequence: Int64) throws {
        for table in texts.indices { try send(table) }
        for sql in again { try session.run(SQLStatement(stringLiteral: sql)) }
        try session.run("SELECT setval(pg_get_serial_sequence('transitions', 'seq'), \(nextSequence), false)")
        try session.run("COMMIT")
        try session.run("VACUUM ANALYZE")
        session.close()
    }

    private func append(_ table: Int, _ values: [SQLValue]) throws {
        texts[table].text += try RawPostgres.copyLine(values)
        if texts[table].text.utf8.count > Self.portion { try send(table) }
    }

    private func send(_ table: Int) throws {
        guard !texts[table].text.isEmpty else { return }
        try session.copy(texts[table].text, into: texts[table].table, texts[table].columns)
        texts[table].text = ""
    }
}
