import Fleet
import SQL

extension Migration {
    static let columns: SQLStatement = """
        id, server_id, mode, options, state, direction, epoch, attempt, max_attempts, source_id, target_id, excluded, reason_code,
        reason_message, remedy, cancel_requested, awaiting, progress, blackout, actor, priority, created_at, due_at, finished_at,
        deadline_at, status_before, batch_id
        """

    init(_ row: SQLRow) throws {
        let excluded = try row.text("excluded")
        self.init(
            id: MigrationID(try row.text("id")), server: ServerID(try row.text("server_id")), mode: try row.word("mode"),
            options: try JSON.options(try row.text("options")), state: try row.word("state"),
            direction: try row.word("direction"), epoch: Epoch(try row.integer("epoch")), attempt: Int(try row.integer("attempt")),
            maxAttempts: Int(try row.integer("max_attempts")), source: HostID(try row.text("source_id")),
            target: try row.optionalText("target_id").map { HostID($0) },
            excluded: excluded == "{}" ? [:] : Self.hosts(try JSON.value([String: Reason].self, excluded)),
            reason: try row.reason("reason_code", "reason_message"), remedy: try row.optionalWord("remedy"),
            cancelRequested: try row.flag("cancel_requested"),
            awaiting: try row.optionalText("awaiting"),
            progress: try row.optionalText("progress").map { try JSON.value(Progress.self, $0) },
            blackout: try row.optionalText("blackout").map { try JSON.value(Blackout.self, $0) }, actor: try row.text("actor"),
            priority: Int(try row.integer("priority")), createdAt: try row.time("created_at"), dueAt: try row.time("due_at"),
            finishedAt: try row.optionalInteger("finished_at").map { Timestamp(milliseconds: $0) },
            deadlineAt: try row.optionalInteger("deadline_at").map { Timestamp(milliseconds: $0) },
            statusBefore: try row.optionalWord("status_before"), batch: try row.optionalText("batch_id").map { BatchID($0) })
    }

    /// The hosts left out, as a JSON object by host id.
    var excludedText: String {
        get throws {
            excluded.isEmpty ? "{}" : try JSON.text(Dictionary(uniqueKeysWithValues: excluded.map { ($0.key.value, $0.value) }))
        }
    }

    private static func hosts(_ reasons: [String: Reason]) -> [HostID: Reason] {
        Dictionary(uniqueKeysWithValues: reasons.map { (HostID($0.key), $0.value) })
    }
}

extension Transition {
    static let columns: SQLStatement = """
        seq, migration_id, server_id, mode, at, from_state, to_state, direction, attempt, epoch, source_id, target_id, actor, step,
        reason_code, reason_message, numbers, hash
        """

    init(_ row: SQLRow) throws {
        self.init(
            sequence: try row.integer("seq"), migration: MigrationID(try row.text("migration_id")),
            server: ServerID(try row.text("server_id")), mode: try row.word("mode"), at: try row.time("at"),
            from: try row.optionalWord("from_state"), to: try row.word("to_state"), direction: try row.word("direction"),
            attempt: Int(try row.integer("attempt")),
            epoch: Epoch(try row.integer("epoch")), source: HostID(try row.text("source_id")),
            target: try row.optionalText("target_id").map { HostID($0) }, actor: try row.text("actor"),
            step: try row.optionalText("step"), reason: try row.reason("reason_code", "reason_message"),
            numbers: try Self.numbers(row.text("numbers")), hash: try row.optionalText("hash"))
    }
}

extension Transition {
    /// Most rows have none.
    private static func numbers(_ text: String) throws -> [String: Int64] {
        text == "{}" ? [:] : try JSON.value([String: Int64].self, text)
    }
}

extension JournalEntry {
    init(_ row: SQLRow) throws {
        self.init(
            attempt: Int(try row.integer("attempt")), step: try row.text("step"), position: Int(try row.integer("position")),
            status: try row.word("status"), output: try row.optionalText("output"))
    }
}

extension Cleanup {
    static let columns: SQLStatement = "id, kind, migration_id, server_id, host_id, attempt, epoch, tries, due_at, last_error"

    init(_ row: SQLRow) throws {
        self.init(
            id: try row.text("id"), kind: try row.word("kind"), migration: MigrationID(try row.text("migration_id")),
            server: ServerID(try row.text("server_id")), host: HostID(try row.text("host_id")), attempt: Int(try row.integer("attempt")),
            epoch: Epoch(try row.integer("epoch")), tries: Int(try row.integer("tries")), dueAt: try row.time("due_at"),
            lastError: try row.optionalText("last_error"))
    }
}
