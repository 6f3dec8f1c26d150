import Failpoints
package import Fleet
import SQL

/// Which migrations a list shows.
package struct MigrationFilter: Sendable {
    package var server: ServerID?
    /// As source or target.
    package var host: HostID?
    package var batch: BatchID?
    package var states: Set<MigrationState>?
    package var modes: Set<Mode>?
    /// Codes of the reasons that they have.
    package var reasons: Set<Reason.Code>?
    /// Who submitted them.
    package var actor: String?
    /// Submitted from then on, and before then.
    package var since: Timestamp?
    package var until: Timestamp?
    package var limit: Int
    /// Only those that come after this one in the list's order (keyset page).
    package var before: MigrationID?
    /// Newest first, or oldest.
    package var newestFirst: Bool
    /// By the time of their end, and only those that have come to it; by that of their submit else.
    package var byEnd: Bool
    package init(
        server: ServerID? = nil, host: HostID? = nil, batch: BatchID? = nil, states: Set<MigrationState>? = nil, modes: Set<Mode>? = nil,
        reasons: Set<Reason.Code>? = nil, actor: String? = nil, since: Timestamp? = nil, until: Timestamp? = nil, limit: Int = 20,
        before: MigrationID? = nil, newestFirst: Bool = true, byEnd: Bool = false
    ) {
        self.server = server
        self.host = host
        self.batch = batch
        self.states = states
        self.modes = modes
        self.reasons = reasons
        self.actor = actor
        self.since = since
        self.until = until
        self.limit = limit
        self.before = before
        self.newestFirst = newestFirst
        self.byEnd = byEnd
    }
}

extension Store {
    /// Accepts a migration: `pending`, its first history row, the server's status `start_migrate`, in one transaction.
    /// Throws `notFound`, `busy` (an unfinished migration, by the unique index; an operation), `wrongStatus`
    /// (live needs `running`, cold `ready`), and for a rescue what ``checkRescue(of:options:)`` does. A start or a stop that hangs on a host
    /// which is down ends with the acceptance of a rescue: whoever holds it is superseded, and the server counts as off.
    package func submitMigration(
        server: ServerID, mode: Mode, options: MigrationOptions, maxAttempts: Int, priority: Int = 0, actor: String
    ) async throws -> Migration {
        try await write(.submit) { transaction in
            try await submit(server, mode, options, maxAttempts: maxAttempts, actor: actor, priority: priority, in: transaction)
        }
    }

    /// The same as part of a transaction.
    /// - Parameters:
    ///   - priority: higher ones are claimed first.
    ///   - reason: stands in the first row of the history.
    func submit(
        _ server: ServerID, _ mode: Mode, _ options: MigrationOptions, maxAttempts: Int, actor: String, priority: Int = 0,
        reason: Reason? = nil, in transaction: any SQLTransaction
    ) async throws -> Migration {
        let optionsText = try JSON.text(options)
        let rows = try await transaction.query(
            "SELECT name, status, host_id, epoch, \(dialect.now) AS now FROM servers WHERE id = \(server.value) \(dialect.lock)")
        guard let row = rows.first else { throw Self.noServer(server.value) }
        let name = try row.text("name")
        let status: ServerStatus = try row.word("status")
        try await requireNoMigration(of: server, named: name, in: transaction)
        try Self.require(status, allows: mode, of: name)
        if mode == .rescue { try await requireRescuable(server, options, in: transaction) }
        let id: MigrationID = ids.make(at: try row.time("now"))
        do {
            let migration = try Migration(
                only(
                    await transaction.query(
                        """
                        INSERT INTO migrations (id, server_id, mode, options, state, direction, epoch, attempt, max_attempts, source_id,
                            excluded, actor, status_before, claimable, active, priority, created_at, due_at)
                        VALUES (\(id.value), \(server.value), \(mode.rawValue), \(optionsText), \(MigrationState.pending.rawValue),
                            \(Direction.forward.rawValue), \(try row.integer("epoch")), 0, \(maxAttempts), \(try row.text("host_id")),
                            '{}', \(actor), \((status.isOperation ? .ready : status).rawValue), 1, 0, \(priority), \(dialect.now),
                            \(dialect.now))
                        RETURNING \(Migration.columns)
                        """)))
            try await record(MigrationChange.HistoryNote(from: nil, actor: actor, reason: reason), of: migration, in: transaction)
            try await transaction.execute(
                """
                UPDATE servers SET status = \(ServerStatus.startMigrate.rawValue), note_code = NULL, note_message = NULL,
                    epoch = epoch + CASE WHEN operation_owner IS NULL THEN 0 ELSE 1 END, operation_owner = NULL, operation_until = NULL
                WHERE id = \(server.value)
                """)
            return migration
        } catch let error as SQLError where Rule.oneUnfinishedMigration.isBroken(by: error) {
            throw StoreError(.busy, "Server \(name) has an unfinished migration. Wait for its end, or cancel it.", cause: error)
        }
    }

    /// In the order of their submit, as the filter says.
    package func migrations(_ filter: MigrationFilter) async throws -> [Migration] {
        let query = filter.page(Migration.columns, inOrder: true)
        return try await read { try await $0.query(query).map(Migration.init) }
    }

    /// How many the filter lets pass, of which at most `filter.limit` are counted.
    package func countMigrations(_ filter: MigrationFilter) async throws -> Int {
        let page = filter.page("id", inOrder: false)
        return try await read { transaction in
            Int(try only(await transaction.query("SELECT COUNT(*) AS n FROM (\(page)) AS counted")).integer("n"))
        }
    }

    /// In the order in which the steps were begun.
    package func journal(of migration: MigrationID) async throws -> [JournalEntry] {
        try await read { transaction in
            try await transaction.query(
                """
                SELECT attempt, step, position, status, output FROM steps WHERE migration_id = \(migration.value)
                ORDER BY attempt, position, step
                """
            ).map(JournalEntry.init)
        }
    }

    /// A migration's story, oldest first.
    package func history(of migration: MigrationID) async throws -> [Transition] {
        try await read { transaction in
            try await transaction.query(
                "SELECT \(Transition.columns) FROM transitions WHERE migration_id = \(migration.value) ORDER BY seq"
            ).map(Transition.init)
        }
    }

    // MARK: for several queries

    static func noMigration(_ reference: String) -> StoreError {
        StoreError(.notFound, "There is no migration \(reference).")
    }

    private static func require(_ status: ServerStatus, allows mode: Mode, of name: String) throws {
        if status.isOperation, mode != .rescue || !status.isStartOrStop {
            throw StoreError(.busy, "Server \(name) is \(status.rawValue). Wait until that is over.")
        }
        switch (mode, status) {
        case (.live, .running), (.cold, .ready), (.rescue, .running), (.rescue, .ready), (.rescue, .starting), (.rescue, .stopping):
            return
        case (.live, _):
            throw StoreError(.wrongStatus, "Server \(name) is \(status.rawValue); a live migration needs it running.")
        case (.cold, _):
            throw StoreError(.wrongStatus, "Server \(name) is \(status.rawValue); a cold migration needs it ready, that is, stopped.")
        case (.rescue, _):
            throw StoreError(.wrongStatus, "Server \(name) is \(status.rawValue); a rescue needs it running or ready.")
        }
    }
}

extension MigrationFilter {
    /// No transaction of a submit lasts longer.
    private static let longestSubmitMS: Int64 = 3_600_000

    /// The query of one page.
    fileprivate func page(_ columns: SQLStatement, inOrder: Bool) -> SQLStatement {
        var conditions: [SQLStatement] = []
        if let server { conditions.append("server_id = \(server.value)") }
        if let batch { conditions.append("batch_id = \(batch.value)") }
        if let states {
            conditions.append("state IN (\(list: states.map(\.rawValue).sorted()))")
            // Leads to the index of the unfinished.
            if states.allSatisfy({ !$0.isFinished }) { conditions.append("finished_at IS NULL") }
        }
        if let modes { conditions.append("mode IN (\(list: modes.map(\.rawValue).sorted()))") }
        if let reasons { conditions.append("reason_code IN (\(list: reasons.map(\.value).sorted()))") }
        if let actor { conditions.append("actor = \(actor)") }
        // An id is made in the transaction of its submit, before the row: none of those that come after is looked at.
        if let since {
            let early = Timestamp(milliseconds: since.milliseconds - Self.longestSubmitMS)
            conditions.append("id >= \(OrderedIDs.first(at: early)) AND created_at >= \(since.milliseconds)")
        }
        if let until { conditions.append("created_at < \(until.milliseconds)") }
        if byEnd { conditions.append("finished_at IS NOT NULL") }
        if let before {
            let place: SQLStatement = "(SELECT p.finished_at, p.id FROM migrations p WHERE p.id = \(before.value))"
            switch (byEnd, newestFirst) {
            case (false, true): conditions.append("id < \(before.value)")
            case (false, false): conditions.append("id > \(before.value)")
            case (true, true): conditions.append("(finished_at, id) < \(place)")
            case (true, false): conditions.append("(finished_at, id) > \(place)")
            }
        }
        let limit = max(0, limit)
        let keys: SQLStatement =
            switch (byEnd, newestFirst) {
            case (false, true): "id DESC"
            case (false, false): "id"
            case (true, true): "finished_at DESC, id DESC"
            case (true, false): "finished_at, id"
            }
        let order: SQLStatement = inOrder ? "ORDER BY \(keys)" : ""
        func page(_ more: [SQLStatement]) -> SQLStatement {
            "SELECT \(columns) FROM migrations WHERE \(.all(conditions + more)) \(order) LIMIT \(limit)"
        }
        guard let host else { return page([]) }
        // A host in either role: two index scans, each with its own limit. No migration is in both, since its target is not its source.
        return """
            SELECT \(columns) FROM (
                SELECT * FROM (\(page(["source_id = \(host.value)"]))) AS leaving
                UNION ALL SELECT * FROM (\(page(["target_id = \(host.value)"]))) AS coming
            ) AS both_ways \(order) LIMIT \(limit)
            """
    }
}
