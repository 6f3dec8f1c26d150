package import Fleet
import SQL

extension Store {
    /// Finished migrations, in the order of their ids, whose history holds more than the mark of its pruning and may go.
    ///
    /// - Parameter after: the last one of the page before; the first page when nil.
    package func prunableHistory(_ retention: Retention, after: MigrationID? = nil, limit: Int) async throws -> [PrunableHistory] {
        let old: SQLStatement =
            switch retention {
            case .finishedBefore(let time): "m.finished_at < \(time.milliseconds)"
            case .keeping(let count):
                """
                (m.finished_at, m.id) <= (SELECT k.finished_at, k.id FROM migrations k WHERE k.finished_at IS NOT NULL
                    ORDER BY k.finished_at DESC, k.id DESC LIMIT 1 OFFSET \(max(0, count)))
                """
            }
        let from: SQLStatement = after.map { "AND m.id > \($0.value)" } ?? ""
        return try await read { transaction in
            try await transaction.query(
                """
                SELECT t.migration_id, COUNT(*) AS n, MAX(t.seq) AS last FROM transitions t WHERE t.migration_id IN (
                    SELECT m.id FROM migrations m WHERE m.finished_at IS NOT NULL \(from) AND \(old)
                        AND NOT EXISTS (
                            SELECT 1 FROM history_heads h WHERE h.migration_id = m.id AND h.pruned_seq IS NOT NULL
                                AND h.length = h.pruned_length + 1)
                        AND EXISTS (SELECT 1 FROM transitions x WHERE x.migration_id = m.id)
                    ORDER BY m.id LIMIT \(max(0, limit))
                ) GROUP BY t.migration_id ORDER BY t.migration_id
                """
            ).map {
                PrunableHistory(
                    migration: MigrationID(try $0.text("migration_id")), rows: Int(try $0.integer("n")),
                    lastSequence: try $0.integer("last"))
            }
        }
    }

    /// Takes the rows of a finished migration's history away that the caller has archived, all or none, and leaves a mark in their place: a
    /// row that tells how many they were, up to which one, by whose order and where they are, and that goes on from the last one's hash. The
    /// migration itself stays, with what came of it.
    ///
    /// Returns how many rows went. Throws `notFound`, `wrongStatus` for one that is not finished or whose history is not, or not any more,
    /// what was archived, and for one that was altered: that is not to be covered up.
    ///
    /// - Parameter archive: what the archive is called, for the mark.
    @discardableResult
    package func pruneHistory(_ archived: PrunableHistory, archive: String, actor: String) async throws -> Int {
        let id = archived.migration
        let pruned = try await write { transaction in
            let rows = try await transaction.query(
                "SELECT \(Migration.columns) FROM migrations WHERE id = \(id.value) \(dialect.lock)")
            guard let row = rows.first else { throw Self.noMigration(id.value) }
            let migration = try Migration(row)
            guard migration.state.isFinished else {
                throw StoreError(
                    .wrongStatus, "Migration \(id) is \(migration.state.rawValue); only the history of a finished one is pruned.")
            }
            let found = try only(
                await transaction.query(
                    "SELECT COUNT(*) AS n, MAX(seq) AS last FROM transitions WHERE migration_id = \(id.value)"))
            let (count, last) = (Int(try found.integer("n")), try found.optionalInteger("last"))
            guard count == archived.rows, let last, last == archived.lastSequence else {
                throw StoreError(
                    .wrongStatus,
                    "The history of migration \(id) is not what was archived: \(count) rows, where \(archived.rows) up to number \(archived.lastSequence) were. Archive it again."
                )
            }
            if let flaw = try await historyFlaws(of: id, in: transaction).first {
                throw StoreError(
                    .wrongStatus,
                    "The history of migration \(id) is not as it was written: \(flaw.message). It stays, for whoever looks into that.")
            }
            let head = try await historyHeads(of: [id.value], in: transaction)[id.value]
            let chained = head?.length ?? 0
            let note = MigrationChange.HistoryNote(
                from: migration.state, actor: actor,
                reason: Reason(
                    .historyPruned, "\(count) rows of this history, up to number \(last), were archived in \(archive) and taken away."),
                numbers: [HistoryMark.rows: Int64(count), HistoryMark.chained: chained, HistoryMark.last: last])
            let values = try note.values(of: migration, at: await historyTime(in: transaction))
            let hash = HistoryHash.of(values, after: head?.hash ?? "")
            try await transaction.execute(
                "INSERT INTO transitions (\(HistoryHash.columnList), hash) VALUES (\(values: values), \(hash))")
            try await transaction.execute(
                """
                INSERT INTO history_heads (migration_id, length, hash, pruned_seq, pruned_length, pruned_hash)
                VALUES (\(id.value), \(chained + 1), \(hash), \(last), \(chained), \(head?.hash))
                ON CONFLICT (migration_id) DO UPDATE SET length = excluded.length, hash = excluded.hash,
                    pruned_seq = excluded.pruned_seq, pruned_length = excluded.pruned_length, pruned_hash = excluded.pruned_hash
                """)
            return try await transaction.execute("DELETE FROM transitions WHERE migration_id = \(id.value) AND seq <= \(last)")
        }
        if let drop = dialect.dropEmptyMonths { try await write { _ = try await $0.query(drop) } }
        return pruned
    }
}

/// Numbers in the row that stands for what was pruned.
enum HistoryMark {
    static let rows = "rows"
    /// Of these, with those that were pruned before: how many had a hash.
    static let chained = "chained"
    static let last = "lastSequence"
}
