package import Fleet
import SQL

extension Store {
    /// So many migrations are looked at in one read.
    private static let verifiedAtOnce = 200

    /// Goes through the whole history, or one migration's, and names every row that was altered and every one that is missing.
    package func verifyHistory(of migration: MigrationID? = nil) async throws -> HistoryVerification {
        var verification = HistoryVerification()
        var last = ""
        while true {
            let page = try await verifyPage(after: last, only: migration)
            verification.migrations += page.migrations
            verification.rows += page.rows
            verification.pruned += page.pruned
            verification.unproven += page.unproven
            verification.flaws += page.flaws
            guard let next = page.last else { return verification }
            last = next
        }
    }

    private struct Page {
        var migrations = 0
        var rows = 0
        var pruned = 0
        var unproven = 0
        var flaws: [HistoryFlaw] = []
        /// Nil at the end.
        var last: String?
    }

    /// What is wrong with one migration's history.
    func historyFlaws(of migration: MigrationID, in transaction: any SQLTransaction) async throws -> [HistoryFlaw] {
        try await verifyPage(after: "", only: migration, in: transaction).flaws
    }

    private func verifyPage(after last: String, only migration: MigrationID?) async throws -> Page {
        try await read { try await verifyPage(after: last, only: migration, in: $0) }
    }

    private func verifyPage(after last: String, only migration: MigrationID?, in transaction: any SQLTransaction) async throws -> Page {
        let limit = Self.verifiedAtOnce
        let one: SQLStatement = migration.map { "= \($0.value)" } ?? "> \(last)"
        // Whoever has a row anywhere: a migration whose rows are all gone has its head still, and one whose head is gone its rows.
        let ids = try await transaction.query(
            """
            SELECT id FROM (
                SELECT * FROM (SELECT migration_id AS id FROM history_heads WHERE migration_id \(one) ORDER BY migration_id LIMIT \(limit)) AS a
                UNION SELECT * FROM
                    (SELECT DISTINCT migration_id AS id FROM transitions WHERE migration_id \(one) ORDER BY migration_id LIMIT \(limit)) AS b
                UNION SELECT * FROM (SELECT id FROM migrations WHERE id \(one) ORDER BY id LIMIT \(limit)) AS c
            ) AS known ORDER BY id LIMIT \(limit)
            """
        ).map { try $0.text("id") }
        guard !ids.isEmpty else { return Page() }
        let rows = try await transaction.query(
            "SELECT \(Transition.columns), batch_id FROM transitions WHERE migration_id IN (\(list: ids)) ORDER BY migration_id, seq")
        let heads = try await transaction.query(
            """
            SELECT k.id, h.length, h.hash, h.pruned_seq, h.pruned_length, h.pruned_hash, k.state, k.batch_id
            FROM (SELECT id, state, batch_id FROM migrations WHERE id IN (\(list: ids))) AS k
                LEFT JOIN history_heads h ON h.migration_id = k.id
            UNION ALL SELECT h.migration_id, h.length, h.hash, h.pruned_seq, h.pruned_length, h.pruned_hash, NULL, NULL FROM history_heads h
                WHERE h.migration_id IN (\(list: ids)) AND NOT EXISTS (SELECT 1 FROM migrations m WHERE m.id = h.migration_id)
            """)
        let headsByID = Dictionary(try heads.map { (try $0.text("id"), $0) }) { first, _ in first }
        let rowsByID = try Dictionary(grouping: rows) { try $0.text("migration_id") }
        var page = Page(migrations: ids.count, rows: rows.count, last: migration == nil && ids.count == limit ? ids.last : nil)
        for id in ids { try Self.verify(MigrationID(id), rowsByID[id] ?? [], headsByID[id], &page) }
        return page
    }

    private static func verify(_ migration: MigrationID, _ rows: [SQLRow], _ head: SQLRow?, _ page: inout Page) throws {
        // What was pruned is gone on purpose only where a mark says so; that goes on from the last one's hash.
        var hash = try head?.optionalText("pruned_hash") ?? ""
        var length = try head?.optionalInteger("pruned_length") ?? 0
        if let last = try head?.optionalInteger("pruned_seq") {
            // One that cannot be read is none.
            if let mark = rows.first.flatMap({ try? Transition($0) }), mark.reason?.code == .historyPruned,
                mark.numbers[HistoryMark.last] == last,
                mark.numbers[HistoryMark.chained] == length
            {
                page.pruned += Int(mark.numbers[HistoryMark.rows] ?? 0)
            } else {
                page.flaws.append(
                    HistoryFlaw(
                        migration: migration, kind: .missing,
                        message: "rows up to \(last) are said to be pruned, and the mark that should stand for them is missing"))
            }
        }
        // Those that are told of below come on top of these.
        let chained = length
        var state: String?
        for row in rows {
            let sequence = try row.integer("seq")
            if try row.optionalText("from_state") != row.text("to_state") { state = try row.text("to_state") }
            guard let told = try row.optionalText("hash") else {
                // One without a hash cannot come after one that has it.
                if length > 0 {
                    page.flaws.append(
                        HistoryFlaw(migration: migration, kind: .altered, sequence: sequence, message: "row \(sequence) has lost its hash"))
                } else {
                    page.unproven += 1
                }
                continue
            }
            let values = try HistoryHash.columns.map { try row.value($0) }
            if HistoryHash.of(values, after: hash) != told {
                page.flaws.append(
                    HistoryFlaw(
                        migration: migration, kind: .altered, sequence: sequence,
                        message: "row \(sequence) was altered, or rows before it are missing"))
            }
            // The hash is not over it; what it repeats is.
            if let head, try head.optionalText("state") != nil, try row.optionalText("batch_id") != head.optionalText("batch_id") {
                page.flaws.append(
                    HistoryFlaw(
                        migration: migration, kind: .altered, sequence: sequence,
                        message: "row \(sequence) names another batch than the migration's"))
            }
            // What follows is held against what stands there, so that one flaw is told once.
            hash = told
            length += 1
        }
        let known = try head?.optionalInteger("length") ?? 0
        if known > length {
            page.flaws.append(
                HistoryFlaw(
                    migration: migration, kind: .missing,
                    message: "\(known - length) of \(known) rows are missing"
                        + (length == chained ? "" : ", counted from the first with a hash"))
            )
        } else if try known < length || (known > 0 && head?.optionalText("hash") != hash) {
            page.flaws.append(
                HistoryFlaw(
                    migration: migration, kind: known < length ? .unknown : .altered,
                    message: "the history ends otherwise than it did: \(length) rows, where \(known) were written"))
        }
        if let now = try head?.optionalText("state"), let state, state != now {
            page.flaws.append(
                HistoryFlaw(
                    migration: migration, kind: .contradicted, message: "the migration is \(now), and its history ends with \(state)"))
        }
    }
}
