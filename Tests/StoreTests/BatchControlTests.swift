import Backends
import Fleet
import SQL
import Store
import Testing

@Suite struct BatchControlTests {
    @Test(arguments: Backend.available)
    func `a cancelled batch ends what has not begun at once, and asks the rest to end`(_ backend: Backend) async throws {
        try await withStore(backend) { store in
            let (one, two) = (try await store.addHost("one"), try await store.addHost("two"))
            for name in ["a", "b", "c"] { _ = try await store.addServer(name, on: one) }
            _ = try await store.addServer("off", on: one, status: .ready)
            let batch = try await store.submitBatch(.sample(["a", "b", "c", "off"], maxParallel: 2)).batch
            let claimed = try await store.claims(9)
            let moving = try await store.bring(claimed[0], toSwitchingOn: two)
            let waiting = try await store.advance(claimed[1], to: .scheduling) { change in
                change.journal = [JournalEntry(attempt: 1, step: "place", position: 0, status: .started)]
                change.releaseLease = true
                change.dueInMS = 60_000
            }
            _ = try await store.pauseBatch(batch.id, actor: "ada")
            let cancelled = try await store.cancelBatch(batch.id, actor: "bob")
            #expect((cancelled.cancelled, cancelled.status(at: .now)) == (2, .cancelling))
            #expect(try await store.server("c").status == .running)
            #expect(try await store.server("off").status == .ready)
            let story = try await store.history(of: try await store.migrations(MigrationFilter(batch: batch.id, limit: 9))[0].id)
            #expect(story.map(\.to) == [.pending, .failed])
            #expect(story.last?.reason?.code == .cancelled && story.last?.actor == "bob")
            #expect(try await store.cancelBatch(batch.id, actor: "eve") == cancelled, "again it changes nothing")
            // The one that waited is to be ended, although its batch begins nothing.
            #expect(try await store.claims(9).map(\.id) == [waiting.id])
            #expect(try await store.migration(moving.id.value).cancelRequested)
            try await store.endEarly(try await store.migration(waiting.id.value), .cancelled)
            try await store.advance(moving, to: .ready) { change in
                change.placement = two.id
                change.serverStatus = .running
            }
            let ended = try await store.batch(batch.id.value)
            #expect(ended.counted == [0, 1, 0, 3])
            #expect(try await store.counted(batch.id) == ended.counted)
            #expect(ended.status(at: .now) == .cancelled)
            await refusal(.wrongStatus) { try await store.pauseBatch(batch.id, actor: "ada") }
            await refusal(.wrongStatus) { try await store.resumeBatch(batch.id) }
            #expect(try await store.counts(of: ended).reasons == [.cancelled: 3])
        }
    }

    @Test(arguments: Backend.available)
    func `a single migration of a batch that is cancelled is counted`(_ backend: Backend) async throws {
        try await withStore(backend) { store in
            let one = try await store.addHost("one")
            _ = try await store.addServer("a", on: one)
            let batch = try await store.submitBatch(.sample(["a"])).batch
            let migration = try await store.migrations(MigrationFilter(batch: batch.id))[0]
            _ = try await store.requestCancel(migration.id, actor: "bob")
            let ended = try await store.batch("b")
            #expect(ended.counted == [0, 0, 0, 1])
            #expect(ended.status(at: .now) == .done)
        }
    }

    @Test(arguments: Backend.available)
    func `a retry takes what failed and was in no migration since, under a name of its own`(_ backend: Backend) async throws {
        try await withStore(backend) { store in
            let one = try await store.addHost("one")
            for name in ["a", "b", "c", "d"] { _ = try await store.addServer(name, on: one) }
            var draft = BatchDraft.sample(["a", "b", "c", "d"], name: "night", priority: 3, maxParallel: 4, maxFailures: .number(9))
            draft.liveOptions.maxBandwidthMB = 70
            let batch = try await store.submitBatch(draft).batch
            let claimed = try await store.claims(9)
            try await store.endEarly(claimed[0])
            try await store.endEarly(claimed[1], .cancelled)
            try await store.endEarly(claimed[2])
            // This one was tried again meanwhile.
            _ = try await store.submit(store.server("c"))
            let again = try await store.retryDraft(of: batch, actor: "bob", token: "t", skipsInvalid: false)
            #expect(again.servers == [claimed[0].server.value])
            #expect((again.name, again.actor, again.priority, again.maxParallel, again.retryOf) == ("night-retry1", "bob", 3, 4, batch.id))
            #expect(again.maxFailures == .number(9) && again.liveOptions.maxBandwidthMB == 70)
            let second = try await store.submitBatch(again).batch
            #expect(second.retryOf == batch.id)
            let third = try await store.retryDraft(of: second, actor: "bob", token: nil, skipsInvalid: false)
            #expect((third.name, third.servers) == ("night-retry2", []))
        }
    }

    @Test(arguments: Backend.available)
    func `how long it will take is told by what was done`(_ backend: Backend) async throws {
        try await withStore(backend) { store in
            let one = try await store.addHost("one")
            for name in ["a", "b", "c"] { _ = try await store.addServer(name, on: one) }
            let batch = try await store.submitBatch(.sample(["a", "b", "c"])).batch
            #expect(try await store.counts(of: batch).etaMS == nil)
            let first = try #require(try await store.claims(1).first)
            // As if it had been submitted a minute ago.
            _ = try await store.database.write {
                try await $0.execute("UPDATE batches SET created_at = created_at - 60000 WHERE id = \(batch.id.value)")
            }
            try await store.endEarly(first)
            let eta = try #require(try await store.counts(of: try await store.batch("b")).etaMS)
            #expect((120_000..<180_000).contains(eta), "two of three are left")
            _ = try await store.pauseBatch(batch.id, actor: "ada")
            #expect(try await store.counts(of: try await store.batch("b")).etaMS == nil)
        }
    }
}
