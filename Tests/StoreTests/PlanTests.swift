import Backends
import Fleet
import Recording
import SQL
import Store
import Testing

/// How the engines go about the questions that are asked often, or of years of history.
@Suite struct PlanTests {
    @Test(arguments: Backend.available)
    func `questions that are asked often read no table from end to end, and skip no rows`(_ backend: Backend) async throws {
        try await withAsked(backend) { store, asked in
            let (one, two) = (try await store.addHost("one"), try await store.addHost("two"))
            let server = try await store.addServer("web", on: one)
            let claimed = try await store.claim(server)
            try await store.fail(try await store.advance(claimed, to: .scheduling))
            let newest = try #require(try await store.history(HistoryFilter(), limit: 1).first).sequence
            _ = try await store.submit(server)
            asked.forget()

            let window = (since: Timestamp(milliseconds: 1_000), until: Timestamp(milliseconds: 4_000_000_000_000))
            _ = try await store.history(HistoryFilter(server: server.id), limit: 50)
            _ = try await store.history(HistoryFilter(host: two.id, since: window.since, until: window.until), limit: 50)
            _ = try await store.history(HistoryFilter(), after: newest, limit: 1000)
            _ = try await store.history(HistoryFilter(host: one.id), newestFirst: false, after: 1, limit: 1000)
            _ = try await store.history(of: claimed.id)
            _ = try await store.migrations(MigrationFilter(server: server.id))
            _ = try await store.migrations(MigrationFilter(host: one.id))
            _ = try await store.migrations(MigrationFilter(states: [.pending]))
            _ = try await store.migrations(MigrationFilter(byEnd: true))
            _ = try await store.nextDueInMS()
            let statements = asked.all.flatMap(\.statements)
            #expect(statements.count >= 10)
            for statement in statements { try await expectIndexes(for: statement, of: store, backend) }

            // What a claim asks, its row locks too, before it has taken anything.
            asked.forget()
            #expect(try await store.claimMigrations(worker: "w2", leaseMS: 60_000, limit: 5).count == 1)
            for statement in asked.all.flatMap(\.statements) { try await expectIndexes(for: statement, of: store, backend) }
        }
    }

    @Test(arguments: Backend.available)
    func `failures by reason and day are counted in their index alone`(_ backend: Backend) async throws {
        try await withAsked(backend) { store, asked in
            let one = try await store.addHost("one")
            for name in ["a", "b"] {
                let claimed = try await store.claim(try await store.addServer(name, on: one))
                try await store.fail(try await store.advance(claimed, to: .scheduling))
            }
            asked.forget()
            let filter = HistoryFilter(
                states: [.failed], since: Timestamp(milliseconds: Timestamp.now.milliseconds - 86_400_000),
                until: Timestamp(milliseconds: Timestamp.now.milliseconds + 86_400_000))
            let counted = try await store.historyStatistics(by: [.day, .reason], filter)
            #expect(counted.map(\.count) == [2])
            #expect(counted.first?.key.last == "target-lost")
            // The same by what reads the rows themselves.
            var byActor = filter
            byActor.actor = "ada"
            #expect(try await store.historyStatistics(by: [.day, .reason], byActor) == counted)

            let plan = try await self.plan(of: try #require(asked.all.first?.statements.first), in: store, backend).joined(separator: "\n")
            switch backend.dialect {
            case .sqlite: #expect(plan.contains("USING COVERING INDEX migrations_failures (finished_at>? AND finished_at<?)"), "\(plan)")
            case .postgres: #expect(plan.contains("Index Only Scan using migrations_failures"), "\(plan)")
            }
        }
    }

    private func expectIndexes(for statement: SQLStatement, of store: Store, _ backend: Backend) async throws {
        let text = statement.parts.map { if case .text(let text) = $0 { text } else { "?" } }.joined()
        #expect(!text.contains("OFFSET"))
        guard text.contains("SELECT") || text.contains("UPDATE") else { return }
        for line in try await plan(of: statement, in: store, backend) {
            let isScan =
                switch backend.dialect {
                case .sqlite: line.hasPrefix("SCAN ") && !line.contains(" USING ")
                case .postgres: line.contains("Seq Scan on ")
                }
            let isLarge = ["migrations", "transitions", "steps", "history_heads"].contains { line.contains(" \($0)") }
            #expect(!(isScan && isLarge), "\(line) in \(text)")
            // Of all that waits only the first are read.
            let isQueue = text.contains("ORDER BY priority DESC, due_at, id")
            #expect(!(isQueue && line.contains("USE TEMP B-TREE")), "\(line) in \(text)")
        }
    }

    /// What the engine says of a statement. Of tables as small as here PostgreSQL reads whole ones, unless it is kept from it where it can be.
    private func plan(of statement: SQLStatement, in store: Store, _ backend: Backend) async throws -> [String] {
        try await store.database.write { transaction in
            switch backend.dialect {
            case .sqlite:
                return try await transaction.query("EXPLAIN QUERY PLAN \(statement)").map { try $0.text("detail") }
            case .postgres:
                try await transaction.execute("SET LOCAL enable_seqscan = off")
                return try await transaction.query("EXPLAIN \(statement)").map { try $0.text("QUERY PLAN") }
            }
        }
    }
}

/// Runs the body with a new store, and with what its database is asked.
private func withAsked(_ backend: Backend, _ body: (Store, Recorder) async throws -> Void) async throws {
    try await backend.withDatabases(1) { databases in
        let asked = Recorder()
        try await body(try await Store(RecordingDatabase(databases[0], asked)), asked)
    }
}
