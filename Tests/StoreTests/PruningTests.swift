import Backends
import Fleet
import SQL
import Store
import Testing

/// The end of old history, by order only.
@Suite struct PruningTests {
    private func finished(_ store: Store, _ count: Int) async throws -> [Migration] {
        let host = try await store.addHost("one", facts: .sample(cpus: 64, memoryBytes: 64 * gibibyte))
        var ended: [Migration] = []
        for number in 0..<count { ended.append(try await store.fail(store.claim(store.addServer("s\(number)", on: host)))) }
        return ended
    }

    private func archived(_ store: Store, _ migration: Migration) async throws -> PrunableHistory {
        let story = try await store.history(of: migration.id)
        return PrunableHistory(migration: migration.id, rows: story.count, lastSequence: story.last?.sequence ?? 0)
    }

    @Test(arguments: Backend.available)
    func `a mark stands for what was pruned, and what was pruned is not missing`(_ backend: Backend) async throws {
        try await withStore(backend) { store in
            let ended = try await finished(store, 3)
            let statistics = try await store.historyStatistics(by: [.state], HistoryFilter())
            let before = try await store.history(of: ended[0].id)
            let first = try await archived(store, ended[0])
            #expect(try await store.pruneHistory(first, archive: "/backup/1.jsonl", actor: "ada") == before.count)
            let left = try await store.history(of: ended[0].id)
            let mark = try #require(left.first)
            #expect(left.count == 1 && mark.from == .failed && mark.to == .failed && mark.actor == "ada")
            #expect(mark.reason?.code == .historyPruned && mark.reason?.message.contains("/backup/1.jsonl") == true)
            #expect(
                mark.numbers == [
                    "rows": Int64(before.count), "chained": Int64(before.count), "lastSequence": before.last?.sequence ?? 0,
                ])
            var found = try await store.verifyHistory()
            #expect(found.flaws == [] && found.pruned == before.count && found.migrations == 3)
            #expect(try await store.historyStatistics(by: [.state], HistoryFilter()) == statistics)
            // Nothing counts it against a host that it was not about.
            #expect(try await store.migration(ended[0].id.value) == ended[0])

            // What is written later goes on from the mark, and can go as well.
            try await store.database.write { transaction in
                try await transaction.execute(
                    """
                    INSERT INTO cleanups (id, kind, migration_id, server_id, host_id, attempt, epoch, due_at, created_at)
                    VALUES ('c', 'source', \(ended[0].id.value), \(ended[0].server.value), \(ended[0].source.value), 1, 1, 0, 0)
                    """)
            }
            try await store.finishCleanup("c", note: MigrationChange.HistoryNote(from: .failed, actor: "w1"))
            #expect(try await store.history(of: ended[0].id).map(\.actor) == ["ada", "w1"])
            #expect(try await store.verifyHistory().flaws == [])
            #expect(try await store.pruneHistory(archived(store, ended[0]), archive: "2", actor: "bob") == 2)
            found = try await store.verifyHistory()
            #expect(found.flaws == [] && found.pruned == 2)
            #expect(try await store.history(of: ended[0].id).map(\.actor) == ["bob"])
        }
    }

    @Test(arguments: Backend.available)
    func `what may go is told by age or by count, page by page, and what went is not told again`(_ backend: Backend) async throws {
        try await withStore(backend) { store in
            let ended = try await finished(store, 5)
            let server = try #require(try await store.servers(ServerFilter()).last)
            let open = try await store.submit(server)
            func told(_ retention: Retention, after: MigrationID? = nil, limit: Int = 100) async throws -> [MigrationID] {
                try await store.prunableHistory(retention, after: after, limit: limit).map(\.migration)
            }
            let future = Retention.finishedBefore(Timestamp(milliseconds: .max))
            #expect(try await told(future) == ended.map(\.id))
            #expect(try await told(future, limit: 2) == ended.prefix(2).map(\.id))
            #expect(try await told(future, after: ended[1].id, limit: 2) == ended[2...3].map(\.id))
            #expect(try await told(.finishedBefore(try #require(ended[0].finishedAt))) == [])
            #expect(try await told(.keeping(0)) == ended.map(\.id))
            #expect(try await told(.keeping(3)).count == 2)
            #expect(try await told(.keeping(5)) == [])
            #expect(try await store.prunableHistory(future, limit: 1).first == archived(store, ended[0]))
            try await store.pruneHistory(archived(store, ended[0]), archive: "a", actor: "ada")
            #expect(try await told(future) == ended.dropFirst().map(\.id))
            #expect(try await store.history(of: open.id).count == 1)
        }
    }

    @Test(arguments: Backend.available)
    func `what was not archived, or is not finished, stays whole`(_ backend: Backend) async throws {
        try await withStore(backend) { store in
            let ended = try await finished(store, 1)
            let whole = try await archived(store, ended[0])
            for wrong in [
                PrunableHistory(migration: whole.migration, rows: whole.rows - 1, lastSequence: whole.lastSequence),
                PrunableHistory(migration: whole.migration, rows: whole.rows, lastSequence: whole.lastSequence - 1),
            ] {
                let sentence = await refusal(.wrongStatus) { try await store.pruneHistory(wrong, archive: "a", actor: "ada") }
                #expect(sentence.contains("is not what was archived"))
            }
            let open = try await store.submit(try #require(try await store.servers(ServerFilter()).first))
            let story = try await archived(store, open)
            await refusal(.wrongStatus) { try await store.pruneHistory(story, archive: "a", actor: "ada") }
            await refusal(.notFound) {
                try await store.pruneHistory(PrunableHistory(migration: "none", rows: 1, lastSequence: 1), archive: "a", actor: "ada")
            }
            #expect(try await archived(store, ended[0]) == whole)
            #expect(try await store.verifyHistory() == HistoryVerification(migrations: 2, rows: whole.rows + 1))
        }
    }

    @Test(arguments: Backend.available)
    func `the database lets nothing go without a mark`(_ backend: Backend) async throws {
        try await withStore(backend) { store in
            let ended = try await finished(store, 1)
            let id = ended[0].id.value
            await breach("transitions_append_only", of: store, "DELETE FROM transitions WHERE migration_id = \(id)")
            await breach(
                "history_heads_marked", of: store,
                "UPDATE history_heads SET pruned_seq = 1000, pruned_length = length, pruned_hash = hash, length = length + 1")
            await breach("history_heads_grow", of: store, "DELETE FROM history_heads")
            try await store.pruneHistory(archived(store, ended[0]), archive: "a", actor: "ada")
            await breach("transitions_append_only", of: store, "DELETE FROM transitions WHERE migration_id = \(id)")
        }
    }

    @Test(arguments: Backend.available)
    func `what was altered is not covered up`(_ backend: Backend) async throws {
        try await withStore(backend) { store in
            let ended = try await finished(store, 1)
            try await store.database.write { transaction in
                let on = store.database.dialect == .postgres ? " ON transitions" : ""
                try await transaction.execute(SQLStatement(stringLiteral: "DROP TRIGGER transitions_not_updated\(on)"))
                try await transaction.execute("UPDATE transitions SET actor = 'somebody' WHERE to_state = 'pending'")
            }
            let whole = try await archived(store, ended[0])
            let sentence = await refusal(.wrongStatus) { try await store.pruneHistory(whole, archive: "a", actor: "ada") }
            #expect(sentence.contains("is not as it was written: row"))
            #expect(try await archived(store, ended[0]) == whole)
        }
    }

    @Test(arguments: Backend.available)
    func `a mark that is altered or missing is found`(_ backend: Backend) async throws {
        try await withStore(backend) { store in
            let ended = try await finished(store, 2)
            for migration in ended { try await store.pruneHistory(archived(store, migration), archive: "a", actor: "ada") }
            try await store.database.write { transaction in
                let on = store.database.dialect == .postgres ? " ON transitions" : ""
                for trigger in ["transitions_not_updated", "transitions_not_deleted"] {
                    try await transaction.execute(SQLStatement(stringLiteral: "DROP TRIGGER \(trigger)\(on)"))
                }
                try await transaction.execute(
                    "UPDATE transitions SET numbers = REPLACE(numbers, '\"rows\":', '\"rows\":1') WHERE migration_id = \(ended[0].id.value)"
                )
                try await transaction.execute("DELETE FROM transitions WHERE migration_id = \(ended[1].id.value)")
            }
            #expect(try await store.verifyHistory(of: ended[0].id).flaws.map(\.kind) == [.altered])
            #expect(try await store.verifyHistory(of: ended[1].id).flaws.map(\.kind) == [.missing, .missing])
        }
    }

    @Test func `PostgreSQL drops the table of a past month of which nothing is left, and no other`() async throws {
        try await withStore(.postgres) { store in
            let ended = try await finished(store, 2)
            func months() async throws -> [String] {
                try await store.database.read { transaction in
                    try await transaction.query(
                        """
                        SELECT CAST(c.relname AS TEXT) AS name FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
                        WHERE i.inhparent = 'transitions'::regclass ORDER BY 1
                        """
                    ).map { try $0.text("name") }
                }
            }
            let now = try await months()
            // As if the first had been two years ago, in 2024-01, before there were hashes.
            try await store.database.write { transaction in
                try await transaction.script(
                    """
                    SELECT transitions_month(1704067200000); SELECT transitions_month(1706745600000);
                    ALTER TABLE transitions DISABLE TRIGGER USER;
                    ALTER TABLE history_heads DISABLE TRIGGER USER;
                    UPDATE transitions SET at = 1704067200000 + seq, hash = NULL WHERE migration_id = '\(ended[0].id.value)';
                    DELETE FROM history_heads WHERE migration_id = '\(ended[0].id.value)';
                    ALTER TABLE transitions ENABLE TRIGGER USER;
                    ALTER TABLE history_heads ENABLE TRIGGER USER;
                    """)
            }
            #expect(try await months() == ["transitions_202401", "transitions_202402"] + now)
            try await store.pruneHistory(archived(store, ended[1]), archive: "a", actor: "ada")
            #expect(try await months() == ["transitions_202401"] + now)
            try await store.pruneHistory(archived(store, ended[0]), archive: "a", actor: "ada")
            #expect(try await months() == now)
        }
    }
}
