import Fleet
import SQL

extension Store {
    /// So many migrations are read at once, and their rows written by one statement.
    private static let recordedAtOnce = 2000

    /// Writes the same note into the history of all migrations of a batch that meet a condition, in the order of their ids. The transaction
    /// must have inserted or locked them before.
    ///
    /// As ``record(_:in:)`` would, and with less said: all but the hashes is copied by the database from the migrations' rows.
    func record(
        _ note: MigrationChange.HistoryNote, ofAllIn batch: BatchID, where condition: SQLStatement = "1 = 1",
        in transaction: any SQLTransaction
    ) async throws {
        let now = try await historyTime(in: transaction)
        var last = ""
        while true {
            // Only what a row of the history tells: options are long, and there may be very many.
            let rows = try await transaction.query(
                """
                SELECT id, server_id, mode, state, direction, attempt, epoch, source_id, target_id, head.hash FROM migrations
                    LEFT JOIN history_heads head ON head.migration_id = migrations.id
                WHERE batch_id = \(batch.value) AND id > \(last) AND \(condition) ORDER BY id LIMIT \(Self.recordedAtOnce)
                """)
            guard let end = rows.last else { return }
            let chained = try rows.map { row in
                let migration = try Self.told(row, of: batch)
                let hash = HistoryHash.of(try note.values(of: migration, at: now), after: try row.optionalText("hash") ?? "")
                return migration.id.value + hash
            }
            try await write(note, chained, at: now, in: transaction)
            last = try end.text("id")
        }
    }

    /// - Parameter chained: each migration's id with the new row's hash behind it.
    private func write(
        _ note: MigrationChange.HistoryNote, _ chained: [String], at now: Timestamp, in transaction: any SQLTransaction
    ) async throws {
        // An id has 36 characters.
        let hashes: SQLStatement = """
            (SELECT position, substr(reference, 1, 36) AS id, substr(reference, 37) AS hash
                FROM \(dialect.elements(try JSON.text(chained))) AS told)
            """
        try await transaction.execute(
            """
            INSERT INTO transitions (migration_id, server_id, at, from_state, to_state, direction, attempt, epoch, source_id, target_id, actor,
                step, reason_code, reason_message, numbers, mode, hash, batch_id)
            SELECT m.id, m.server_id, \(now.milliseconds), \(note.from?.rawValue), m.state, m.direction, m.attempt, m.epoch, m.source_id,
                m.target_id, \(note.actor), \(note.step), \(note.reason?.code.value), \(note.reason?.message),
                \(note.numbers.isEmpty ? "{}" : try JSON.text(note.numbers)), m.mode, h.hash, m.batch_id
            FROM \(hashes) AS h JOIN migrations m ON m.id = h.id ORDER BY h.position
            """)
        // Without a condition the engines would take ON for that of a join.
        try await transaction.execute(
            """
            INSERT INTO history_heads (migration_id, length, hash)
            SELECT h.id, COALESCE(e.length, 0) + 1, h.hash FROM \(hashes) AS h LEFT JOIN history_heads e ON e.migration_id = h.id
            WHERE 1 = 1
            ON CONFLICT (migration_id) DO UPDATE SET length = excluded.length, hash = excluded.hash
            """)
    }

    private static func told(_ row: SQLRow, of batch: BatchID) throws -> Migration {
        Migration(
            id: MigrationID(try row.text("id")), server: ServerID(try row.text("server_id")), mode: try row.word("mode"),
            options: MigrationOptions(), state: try row.word("state"), direction: try row.word("direction"),
            epoch: Epoch(try row.integer("epoch")), attempt: Int(try row.integer("attempt")), source: HostID(try row.text("source_id")),
            target: try row.optionalText("target_id").map { HostID($0) }, actor: "", createdAt: Timestamp(milliseconds: 0),
            dueAt: Timestamp(milliseconds: 0), batch: batch)
    }
}
