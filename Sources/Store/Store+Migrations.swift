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
    package var limit: Int
    /// Only those that come after this one in the list's order (keyset page).
    package var before: MigrationID?
    /// Newest first, or oldest.
    package var newestFirst: Bool
    package init(
        server: ServerID? = nil, host: HostID? = nil, batch: BatchID? = nil, states: Set<MigrationState>? = nil, modes: Set<Mode>? = nil,
        limit: Int = 20,
        before: MigrationID? = nil, newestFirst: Bool = true
    ) {
        self.server = server
        self.host = host
        self.batch = batch
        self.states = states
        self.modes = modes
        self.limit = limit
        self.before = before
        self.newestFirst = newestFirst
    }
}

extension Store {
    /// Accepts a migration: `pending`, its first history row, the server's status `start_migrate`, in one transaction.
    /// Throws `notFound`, `busy` (an unfinished migration, by the unique index; an operation), `wrongStatus`
    /// (live needs `running`, cold `ready`), and for a rescue what ``checkRescue(of:options:)`` does. A start or a stop that hangs on a host
    /// which is down ends with the acceptance of a rescue: whoever holds it is superseded, and the server counts as off.
    package func submitMigration(
        server: ServerID, mode: Mode, options: MigrationOptions, maxAttempts: Int, actor: String
    ) async throws -> Migration {
        let optionsText = try JSON.text(options)
        return try await write { transaction in
            let rows = try await transaction.query(
                "SELECT name, status, host_id, epoch, \(dialect.now) AS now FROM servers WHERE id = \(server.value) \(dialect.lock)")
            guard let row = rows.first else { throw Self.noServer(server.value) }
            let name = try row.text("name")
            let status: ServerStatus = try row.word("status")
            try await requireNoMigration(of: server, named: name, in: transaction)
            try Self.require(status, allows: mode, of: name)
            if mode == .rescue { try await requireRescuable(server, options, in: transaction) }
            let id: MigrationID = OrderedID.make(at: try row.time("now"))
            do {
                let migration = try Migration(
                    only(
                        await transaction.query(
                            """
                            INSERT INTO migrations (id, server_id, mode, options, state, direction, epoch, attempt, max_attempts, source_id,
                                excluded, actor, status_before, claimable, active, created_at, due_at)
                            VALUES (\(id.value), \(server.value), \(mode.rawValue), \(optionsText), \(MigrationState.pending.rawValue),
                                \(Direction.forward.rawValue), \(try row.integer("epoch")), 0, \(maxAttempts), \(try row.text("host_id")),
                                '{}', \(actor), \((status.isOperation ? .ready : status).rawValue), 1, 0, \(dialect.now), \(dialect.now))
                            RETURNING \(Migration.columns)
                            """)))
                try await record(MigrationChange.HistoryNote(from: nil, actor: actor), of: migration, in: transaction)
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

    /// Writes the history row of what a migration has just become.
    func record(_ note: MigrationChange.HistoryNote, of migration: Migration, in transaction: any SQLTransaction) async throws {
        try await transaction.execute(
            """
            INSERT INTO transitions (migration_id, server_id, at, from_state, to_state, direction, attempt, epoch, source_id, target_id,
                actor, step, reason_code, reason_message, numbers)
            VALUES (\(migration.id.value), \(migration.server.value), \(dialect.now), \(note.from?.rawValue), \(migration.state.rawValue),
                \(migration.direction.rawValue), \(migration.attempt), \(migration.epoch.value), \(migration.source.value),
                \(migration.target?.value), \(note.actor), \(note.step), \(note.reason?.code.value), \(note.reason?.message),
                \(note.numbers.isEmpty ? "{}" : try JSON.text(note.numbers)))
            """)
    }

    /// As ``record(_:of:in:)`` for all migrations of a batch that meet a condition, in the order of their ids.
    func recordAll(
        ofBatch batch: BatchID, _ condition: SQLStatement, _ note: MigrationChange.HistoryNote, in transaction: any SQLTransaction
    ) async throws {
        try await transaction.execute(
            """
            INSERT INTO transitions (migration_id, server_id, at, from_state, to_state, direction, attempt, epoch, source_id, target_id,
                actor, step, reason_code, reason_message, numbers)
            SELECT id, server_id, \(dialect.now), \(note.from?.rawValue), state, direction, attempt, epoch, source_id, target_id,
                \(note.actor), \(note.step), \(note.reason?.code.value), \(note.reason?.message),
                \(note.numbers.isEmpty ? "{}" : try JSON.text(note.numbers))
            FROM migrations WHERE batch_id = \(batch.value) AND \(condition) ORDER BY id
            """)
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
        if let before { conditions.append(newestFirst ? "id < \(before.value)" : "id > \(before.value)") }
        let limit = max(0, limit)
        let order: SQLStatement = !inOrder ? "" : newestFirst ? "ORDER BY id DESC" : "ORDER BY id"
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
