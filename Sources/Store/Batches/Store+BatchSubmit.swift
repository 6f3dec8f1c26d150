import Failpoints
package import Fleet
import SQL

extension Store {
    /// Accepts a batch with all of its migrations in one transaction, or nothing of it.
    ///
    /// - Throws: ``BatchRefusal`` with every line that cannot be taken, also with `skipsInvalid` when no line is left; ``StoreError``
    ///   `tokenTaken` when the token was used for something else.
    package func submitBatch(_ draft: BatchDraft) async throws -> BatchReceipt {
        let (live, cold) = (try JSON.text(draft.liveOptions), try JSON.text(draft.coldOptions))
        return try await write(.submitBatch) { transaction in
            let id = BatchID.unique()
            let begun = try await transaction.query(
                """
                INSERT INTO batches (id, name, actor, token, digest, mode, live_options, cold_options, max_attempts, priority, max_parallel,
                    max_failures, start_at, retry_of, created_at)
                VALUES (\(id.value), \(draft.name), \(draft.actor), \(draft.token), \(draft.digest), \(draft.mode?.rawValue), \(live),
                    \(cold), \(draft.maxAttempts), \(draft.priority), \(draft.maxParallel), \(draft.maxFailures?.description),
                    \(draft.startAt?.milliseconds), \(draft.retryOf?.value), \(dialect.now))
                ON CONFLICT (token) DO NOTHING RETURNING created_at
                """)
            guard let row = begun.first else { return try await submittedBefore(draft, in: transaction) }
            return try await fill(id, draft, at: try row.time("created_at"), in: transaction)
        }
    }

    /// Which lines could be taken now, and how each server would move: what a submit would do, without doing it.
    package func judgeBatch(_ draft: BatchDraft) async throws -> (modes: [(server: ServerID, mode: Mode)], flaws: [BatchFlaw]) {
        try await read { transaction in
            let (references, ambiguous) = try await wholeIDs(draft.servers, in: transaction)
            let judged = try judged(references, draft)
            let flaws = try await flaws(judged, draft.servers, ambiguous, in: transaction)
            let modes = try await transaction.query(
                "\(judged) SELECT server_id, mode FROM judged WHERE flaw IS NULL ORDER BY position"
            ).map { (server: ServerID(try $0.text("server_id")), mode: try $0.word("mode") as Mode) }
            return (modes, flaws)
        }
    }

    private func submittedBefore(_ draft: BatchDraft, in transaction: any SQLTransaction) async throws -> BatchReceipt {
        let row = try only(
            await transaction.query("SELECT \(Batch.columns), digest, flaws FROM batches WHERE token = \(draft.token)"))
        let batch = try Batch(row)
        guard try row.text("digest") == draft.digest else { throw Self.tokenTaken(draft.token ?? "", by: batch) }
        return BatchReceipt(
            batch: batch, flaws: try JSON.value([BatchFlaw].self, try row.text("flaws")), isNew: false)
    }

    /// That a token brought another batch than the one that is asked for now.
    package static func tokenTaken(_ token: String, by batch: Batch) -> StoreError {
        StoreError(
            .tokenTaken,
            "The token \(token) was used for another submit, batch \(batch.id) (\(batch.name)). Give each submit a token of its own.")
    }

    /// Adds the migrations to a batch whose row stands.
    private func fill(_ id: BatchID, _ draft: BatchDraft, at now: Timestamp, in transaction: any SQLTransaction) async throws
        -> BatchReceipt
    {
        let (references, ambiguous) = try await wholeIDs(draft.servers, in: transaction)
        let judged = try judged(references, draft)
        if let lock = dialect.lockAll {
            // What is judged must still be so when the migrations are there.
            _ = try await transaction.query(
                """
                \(judged) SELECT COUNT(*) AS n FROM (
                    SELECT id FROM servers WHERE id IN (SELECT server_id FROM judged) ORDER BY id \(lock)) AS held
                """)
        }
        let flaws = try await flaws(judged, draft.servers, ambiguous, in: transaction)
        guard flaws.isEmpty || draft.skipsInvalid, flaws.count < draft.servers.count else {
            throw BatchRefusal(flaws: flaws, lines: draft.servers.count)
        }
        // Ids with one beginning, in the order of the lines.
        let stem: MigrationID = ids.make(at: now)
        var chance = Chance()
        let first = Int64.random(in: 0..<(1 << 47), using: &chance)
        let total = try await transaction.execute(
            """
            INSERT INTO migrations (id, server_id, mode, options, state, direction, priority, epoch, attempt, max_attempts, source_id,
                excluded, actor, status_before, claimable, active, created_at, due_at, batch_id)
            \(judged)
            SELECT \(String(stem.value.prefix(24))) || \(dialect.hexadecimal("judged.position + \(first)")), server_id, judged.mode,
                CASE judged.mode WHEN \(Mode.live.rawValue) THEN b.live_options ELSE b.cold_options END, \(MigrationState.pending.rawValue),
                \(Direction.forward.rawValue), b.priority, judged.epoch, 0, b.max_attempts, host_id, '{}', b.actor, judged.status, 1, 0,
                \(now.milliseconds), \(now.milliseconds), b.id
            FROM judged JOIN batches b ON b.id = \(id.value) WHERE flaw IS NULL ORDER BY judged.position
            """)
        guard total == draft.servers.count - flaws.count else {
            throw SQLError(.conflict, "servers changed while they were submitted")
        }
        try await record(MigrationChange.HistoryNote(from: nil, actor: draft.actor), ofAllIn: id, in: transaction)
        try await transaction.execute(
            """
            UPDATE servers SET status = \(ServerStatus.startMigrate.rawValue), note_code = NULL, note_message = NULL
            WHERE id IN (SELECT server_id FROM migrations WHERE batch_id = \(id.value))
            """)
        let rows = try await transaction.query(
            """
            UPDATE batches SET total = \(total), skipped = \(flaws.count), flaws = \(try JSON.text(flaws)),
                hold_at = \(draft.maxFailures?.failures(of: total)) WHERE id = \(id.value) RETURNING \(Batch.columns)
            """)
        return BatchReceipt(batch: try Batch(only(rows)), flaws: flaws, isNew: true)
    }

    // MARK: lines

    /// Unique beginnings of ids made whole; those with more than one candidate are left as they are and told.
    private func wholeIDs(
        _ references: [String], in transaction: any SQLTransaction
    ) async throws -> (references: [String], ambiguous: Set<Int>) {
        var references = references
        var beginnings: [Int: String] = [:]
        for (index, reference) in references.enumerated() where (Self.shortestBeginning..<36).contains(reference.utf8.count) {
            let lower = reference.lowercased()
            if Self.isBeginning(lower) { beginnings[index] = lower }
        }
        guard !beginnings.isEmpty else { return (references, []) }
        let indexes = beginnings.keys.sorted()
        let lines = dialect.elements(try JSON.text(indexes.compactMap { beginnings[$0] }))
        // One that is somebody's name is a name.
        let rows = try await transaction.query(
            """
            SELECT l.position, MIN(s.id) AS id, COUNT(*) AS candidates FROM \(lines) AS l
                JOIN servers s ON s.id >= l.reference AND s.id < l.reference || '~'
            WHERE NOT EXISTS (SELECT 1 FROM servers n WHERE n.name = l.reference) GROUP BY l.position
            """)
        var ambiguous: Set<Int> = []
        for row in rows {
            let index = indexes[Int(try row.integer("position"))]
            if try row.integer("candidates") == 1 { references[index] = try row.text("id") } else { ambiguous.insert(index) }
        }
        return (references, ambiguous)
    }

    /// A `WITH` whose table `judged` has a row a line: the server, how it would move, and what is wrong with it (`flaw`), null for nothing.
    private func judged(_ references: [String], _ draft: BatchDraft) throws -> SQLStatement {
        let mode: SQLStatement =
            if let mode = draft.mode {
                "\(mode.rawValue)"
            } else {
                "CASE s.status WHEN \(ServerStatus.running.rawValue) THEN \(Mode.live.rawValue) ELSE \(Mode.cold.rawValue) END"
            }
        let moving = Self.movingStatuses + ServerStatus.allCases.filter(\.isOperation).map(\.rawValue)
        return """
            WITH lines AS (SELECT position, reference FROM \(dialect.elements(try JSON.text(references))) AS told),
            found AS (
                SELECT l.position, s.id AS server_id, s.name, s.status, s.host_id, s.epoch, \(mode) AS mode,
                    MIN(l.position) OVER (PARTITION BY s.id) AS first_position, m.id AS migration_id
                FROM lines l
                    LEFT JOIN servers s ON s.id = COALESCE(
                        (SELECT i.id FROM servers i WHERE i.id = l.reference), (SELECT n.id FROM servers n WHERE n.name = l.reference))
                    LEFT JOIN migrations m ON m.server_id = s.id AND m.finished_at IS NULL
            ),
            judged AS (
                SELECT found.*, CASE
                    WHEN server_id IS NULL THEN 'not-found'
                    WHEN first_position < position THEN 'duplicate'
                    WHEN migration_id IS NOT NULL OR status IN (\(list: moving)) THEN 'busy'
                    WHEN mode = \(Mode.live.rawValue) AND status <> \(ServerStatus.running.rawValue)
                        OR mode = \(Mode.cold.rawValue) AND status <> \(ServerStatus.ready.rawValue) THEN 'wrong-status'
                    WHEN mode = \(Mode.live.rawValue) AND host_id = \(draft.liveOptions.preferHost?.value ?? "")
                        OR mode = \(Mode.cold.rawValue) AND host_id = \(draft.coldOptions.preferHost?.value ?? "") THEN 'same-host'
                    END AS flaw
                FROM found
            )
            """
    }

    private func flaws(
        _ judged: SQLStatement, _ references: [String], _ ambiguous: Set<Int>, in transaction: any SQLTransaction
    ) async throws -> [BatchFlaw] {
        try await transaction.query(
            "\(judged) SELECT position, first_position, name, status, mode, migration_id, flaw FROM judged WHERE flaw IS NOT NULL ORDER BY position"
        ).map { row in
            let position = Int(try row.integer("position"))
            let flaw = try row.text("flaw")
            let (name, status) = (try row.optionalText("name") ?? "", try row.optionalText("status") ?? "")
            let reason: Reason =
                switch flaw {
                case "not-found" where ambiguous.contains(position):
                    Reason("ambiguous", "“\(references[position])” is the beginning of more than one server's id; give the whole id.")
                case "not-found": Reason("not-found", "There is no server \(references[position]).")
                case "duplicate":
                    Reason("duplicate", "Server \(name) is listed before, as “\(references[Int(try row.integer("first_position"))])”.")
                case "busy":
                    if let migration = try row.optionalText("migration_id") {
                        Reason("busy", "Server \(name) has an unfinished migration, \(migration). Wait for its end, or cancel it.")
                    } else {
                        Reason("busy", "Server \(name) is \(status). Wait until that is over.")
                    }
                case "same-host": Reason("same-host", "Server \(name) is on the preferred host already.")
                default:
                    Reason(
                        "wrong-status",
                        "Server \(name) is \(status); a \(try row.text("mode")) migration needs it \(try row.text("mode") == Mode.live.rawValue ? "running" : "ready, that is, stopped")."
                    )
                }
            return BatchFlaw(line: position + 1, id: references[position], reason: reason)
        }
    }
}
