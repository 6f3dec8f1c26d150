import Fleet
import SQL

/// A row of the history to be written: what is told, and of what.
struct HistoryEntry: Sendable {
    var note: MigrationChange.HistoryNote
    var migration: Migration
}

extension Store {
    /// So many rows are written by one statement.
    private static let recordedAtOnce = 200

    /// Writes the history row of what a migration has just become. See ``record(_:in:)``.
    func record(_ note: MigrationChange.HistoryNote, of migration: Migration, in transaction: any SQLTransaction) async throws {
        try await record([HistoryEntry(note: note, migration: migration)], in: transaction)
    }

    /// Writes rows of the history in their order, each chained to the one before it of its migration.
    ///
    /// The transaction must have inserted or locked the rows of the migrations before: whoever writes to a migration's history is alone in
    /// that until the transaction's end, so that its rows are numbered in the order of their chain.
    func record(_ entries: [HistoryEntry], in transaction: any SQLTransaction) async throws {
        for start in stride(from: 0, to: entries.count, by: Self.recordedAtOnce) {
            try await recordPage(entries[start..<min(start + Self.recordedAtOnce, entries.count)], in: transaction)
        }
    }

    private func recordPage(_ entries: ArraySlice<HistoryEntry>, in transaction: any SQLTransaction) async throws {
        let now = try await historyTime(in: transaction)
        let heads = try await historyHeads(of: Set(entries.map(\.migration.id.value)).sorted(), in: transaction)
        try await write(entries, at: now, after: heads, in: transaction)
    }

    /// Writes the rows of one migration whose head was read behind the lock on its row.
    func record(
        _ notes: [MigrationChange.HistoryNote], of migration: Migration, at now: Timestamp, after head: HistoryHead?,
        in transaction: any SQLTransaction
    ) async throws {
        let entries = notes.map { HistoryEntry(note: $0, migration: migration) }
        try await write(entries[...], at: now, after: head.map { [migration.id.value: $0] } ?? [:], in: transaction)
    }

    private func write(
        _ entries: ArraySlice<HistoryEntry>, at now: Timestamp, after heads: [String: HistoryHead], in transaction: any SQLTransaction
    ) async throws {
        var heads = heads
        var rows: [SQLStatement] = []
        for entry in entries {
            let id = entry.migration.id.value
            let head = heads[id]
            let values = try entry.note.values(of: entry.migration, at: now)
            let hash = HistoryHash.of(values, after: head?.hash ?? "")
            rows.append("(\(values: values), \(hash), \(entry.migration.batch?.value))")
            heads[id] = HistoryHead(length: (head?.length ?? 0) + 1, hash: hash)
        }
        try await transaction.post("INSERT INTO transitions (\(HistoryHash.columnList), hash, batch_id) VALUES \(.list(rows))")
        let written = heads.sorted { $0.key < $1.key }.map { id, head in "(\(id), \(head.length), \(head.hash))" as SQLStatement }
        try await transaction.post(
            """
            INSERT INTO history_heads (migration_id, length, hash) VALUES \(.list(written))
            ON CONFLICT (migration_id) DO UPDATE SET length = excluded.length, hash = excluded.hash
            """)
    }

    /// The store's clock for rows of the history, which have a place from here on.
    func historyTime(in transaction: any SQLTransaction) async throws -> Timestamp {
        try only(await transaction.query("SELECT \(dialect.historyTime) AS now")).time("now")
    }

    func historyHeads(of migrations: [String], in transaction: any SQLTransaction) async throws -> [String: HistoryHead] {
        let rows = try await transaction.query(
            "SELECT migration_id, length, hash FROM history_heads WHERE migration_id IN (\(list: migrations))")
        return try Dictionary(
            uniqueKeysWithValues: rows.map { row in
                (try row.text("migration_id"), HistoryHead(length: try row.integer("length"), hash: try row.text("hash")))
            })
    }
}

/// Where a migration's history ends.
struct HistoryHead: Sendable {
    /// How many rows with a hash there are, with those that were pruned.
    var length: Int64
    /// The last one's.
    var hash: String

    init(length: Int64, hash: String) {
        self.length = length
        self.hash = hash
    }

    /// For `RETURNING` of a statement that writes to migrations whose rows were locked before: what ``init(returned:)`` reads.
    static let returned: SQLStatement = """
        (SELECT h.length FROM history_heads h WHERE h.migration_id = migrations.id) AS head_length,
        (SELECT h.hash FROM history_heads h WHERE h.migration_id = migrations.id) AS head_hash
        """

    /// Nil for a migration without any row of the history.
    init?(returned row: SQLRow) throws {
        guard let length = try row.optionalInteger("head_length"), let hash = try row.optionalText("head_hash") else { return nil }
        self.init(length: length, hash: hash)
    }
}

extension SQLStatement {
    /// The parts with commas between them.
    static func list(_ statements: [SQLStatement]) -> SQLStatement {
        SQLStatement(parts: Array(statements.map(\.parts).joined(separator: [.text(", ")])))
    }
}
