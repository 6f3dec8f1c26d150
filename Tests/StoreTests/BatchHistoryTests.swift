import Backends
import Fleet
import SQL
import Store
import Testing

/// What the history tells of batches.
@Suite struct BatchHistoryTests {
    @Test(arguments: Backend.available)
    func `rows and figures are told by batch, each row chained to the one before it`(_ backend: Backend) async throws {
        try await withStore(backend) { store in
            let one = try await store.addHost("one")
            try await store.addServers(["a", "b", "c", "d"], on: one)
            let night = try await store.submitBatch(.sample(["a", "b", "c"], name: "night")).batch
            let begun = try #require(try await store.claims(1).first)
            try await store.endEarly(begun)
            let other = try await store.submitBatch(.sample(["d"], name: "other")).batch
            _ = try await store.cancelBatch(night.id, actor: "bob")

            let rows = try await store.history(HistoryFilter(batch: night.id), newestFirst: false, limit: 100)
            #expect(rows.map(\.to) == [.pending, .pending, .pending, .scheduling, .failed, .failed, .failed])
            #expect(rows.map(\.actor) == ["ada", "ada", "ada", "w1", "w1", "bob", "bob"])
            #expect(rows.allSatisfy { $0.hash != nil })
            let page = try await store.history(
                HistoryFilter(batch: night.id, states: [.failed]), after: rows.last?.sequence, limit: 1)
            #expect(page.map(\.sequence) == [rows[5].sequence])
            #expect(try await store.history(HistoryFilter(batch: other.id), limit: 100).map(\.to) == [.pending])
            let figures = try await store.historyStatistics(by: [.reason], HistoryFilter(batch: night.id))
            #expect(figures.map(\.key) == [["cancelled"], ["no-host"]] && figures.map(\.count) == [2, 1])
            #expect(try await store.verifyHistory().flaws == [])
            let told = try await store.database.read { transaction in
                try await transaction.query("SELECT batch, COUNT(*) AS n FROM migration_outcomes GROUP BY batch")
                    + transaction.query("SELECT batch, COUNT(*) AS n FROM history GROUP BY batch ORDER BY batch")
            }
            #expect(try told.map { try $0.text("batch") } == ["night", "night", "other"])
            #expect(try told.map { try $0.integer("n") } == [3, 7, 1])

            // Under another batch's name a row would be asked for in vain.
            try await store.database.write { transaction in
                let place = store.database.dialect == .postgres ? " ON transitions" : ""
                try await transaction.execute(SQLStatement(stringLiteral: "DROP TRIGGER transitions_not_updated\(place)"))
                try await transaction.execute("UPDATE transitions SET batch_id = \(other.id.value) WHERE seq = \(rows[4].sequence)")
            }
            let flaws = try await store.verifyHistory().flaws
            #expect(flaws.map(\.kind) == [.altered] && flaws.first?.sequence == rows[4].sequence)
        }
    }
}
