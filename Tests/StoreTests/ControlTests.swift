import Backends
import Fleet
import Store
import Testing

/// What others may do to a migration under way.
@Suite struct ControlTests {
    @Test(arguments: Backend.available, [(Mode.live, ServerStatus.running), (.cold, .ready), (.rescue, .running), (.rescue, .ready)])
    func `one that nobody has claimed ends in the cancellation itself, its server what it was`(
        _ backend: Backend, _ kind: (mode: Mode, status: ServerStatus)
    ) async throws {
        try await withStore(backend) { store in
            let host = try await store.addHost("one")
            let server = try await store.addServer(
                "web", on: host, status: kind.status, storage: kind.mode == .rescue ? "pool" : "local")
            let pending = try await store.submit(server, mode: kind.mode)
            #expect(try await store.server("web").status == .startMigrate)
            let ended = try await store.requestCancel(pending.id, actor: "ada")
            #expect(ended.state == .failed && ended.reason?.code == .cancelled && ended.cancelRequested && ended.finishedAt != nil)
            #expect(try await store.server("web").status == kind.status)
            #expect(try await store.claimMigrations(worker: "w1", leaseMS: 1, limit: 5).isEmpty)
            let history = try await store.history(of: pending.id)
            #expect(history.map(\.to) == [.pending, .failed])
            #expect(history.last?.actor == "ada" && history.last?.from == .pending && history.last?.reason?.code == .cancelled)
            // A second time changes nothing, and the server is free for the next one.
            #expect(try await store.requestCancel(pending.id, actor: "bob") == ended)
            #expect(try await store.history(of: pending.id).count == 2)
            #expect(try await store.submit(server, mode: kind.mode).state == .pending)
        }
    }

    @Test(arguments: Backend.available)
    func `one that waits for its next try ends at once too`(_ backend: Backend) async throws {
        try await withStore(backend) { store in
            let host = try await store.addHost("one")
            let migration = try await store.claim(store.addServer("web", on: host))
            let first = try await store.advance(migration, to: .scheduling) { change in
                change.journal = [JournalEntry(attempt: 1, step: "place", position: 0, status: .done)]
                change.serverStatus = .liveMigrating
            }
            let waiting = try await store.advance(first, to: .scheduling) { change in
                change.migration.attempt = 2
                change.migration.reason = Reason(.targetLost, "The target went away.")
                change.journal = [JournalEntry(attempt: 1, step: "place", position: 0, status: .compensated)]
                change.releaseLease = true
                change.dueInMS = 600_000
            }
            #expect(waiting.attempt == 2)
            let ended = try await store.requestCancel(waiting.id, actor: "ada")
            #expect(ended.state == .failed && ended.reason?.code == .cancelled && ended.attempt == 2)
            #expect(try await store.server("web").status == .running)
        }
    }

    @Test(arguments: Backend.available)
    func `one that a worker holds is told, once, with who asked`(_ backend: Backend) async throws {
        try await withStore(backend) { store in
            let host = try await store.addHost("one")
            let migration = try await store.claim(store.addServer("web", on: host))
            #expect(try await store.control(of: migration.id, epoch: migration.epoch)?.isCancelRequested == false)
            for _ in 0..<2 { #expect(try await store.requestCancel(migration.id, actor: "ada").state == .pending) }
            #expect(try await store.control(of: migration.id, epoch: migration.epoch)?.isCancelRequested == true)
            #expect(try await store.control(of: migration.id, epoch: Epoch(1)) == nil)
            #expect(try await store.history(of: migration.id).map(\.reason?.code) == [nil, .cancelRequested])
        }
    }

    @Test(arguments: Backend.available)
    func `parameters change while pending and while held, with from and to in the history`(_ backend: Backend) async throws {
        try await withStore(backend) { store in
            let host = try await store.addHost("one")
            let server = try await store.addServer("web", on: host)
            let pending = try await store.submit(server)
            let set = try await store.setParameters(
                of: pending.id, MigrationParameters(maxBandwidthMB: 40, downtimeLimitMS: 500), actor: "ada")
            #expect(set.options.maxBandwidthMB == 40 && set.options.downtimeLimitMS == 500 && set.state == .pending)
            let note = try #require(try await store.history(of: pending.id).last)
            #expect(note.reason == Reason(.parametersSet, "max-bandwidth-mb: none → 40; downtime-limit-ms: 300 → 500"))
            #expect(note.actor == "ada" && note.numbers == ["maxBandwidthMB": 40, "downtimeLimitMS": 500] && note.to == .pending)

            let held = try #require(try await store.claimMigrations(worker: "w1", leaseMS: 60_000, limit: 1).first)
            #expect(held.options.maxBandwidthMB == 40)
            _ = try await store.setParameters(of: held.id, MigrationParameters(maxBandwidthMB: 0), actor: "bob")
            #expect(try await store.control(of: held.id, epoch: held.epoch)?.options.maxBandwidthMB == nil)
            // A worker that does not know of it yet does not take it back.
            #expect(try await store.advance(held, to: .scheduling).options.maxBandwidthMB == nil)
            // Nothing new: nothing to tell.
            let count = try await store.history(of: held.id).count
            _ = try await store.setParameters(of: held.id, MigrationParameters(maxBandwidthMB: 0, downtimeLimitMS: 500), actor: "bob")
            #expect(try await store.history(of: held.id).count == count)
        }
    }

    @Test(arguments: Backend.available)
    func `parameters of a finished one, and those that its mode does not have, are refused and change nothing`(
        _ backend: Backend
    ) async throws {
        try await withStore(backend) { store in
            let host = try await store.addHost("one")
            let live = try await store.claim(store.addServer("web", on: host))
            let failed = try await store.fail(live)
            let sentence = await refusal(.wrongStatus) {
                try await store.setParameters(of: failed.id, MigrationParameters(maxBandwidthMB: 1), actor: "ada")
            }
            #expect(sentence.contains("failed"))
            let cold = try await store.submit(store.addServer("db", on: host, status: .ready), mode: .cold)
            await refusal(.wrongStatus) {
                try await store.setParameters(of: cold.id, MigrationParameters(downtimeLimitMS: 10), actor: "ada")
            }
            #expect(
                try await store.setParameters(of: cold.id, MigrationParameters(maxBandwidthMB: 5), actor: "ada").options.maxBandwidthMB == 5
            )
            for wrong in [MigrationParameters(), .init(maxBandwidthMB: -1), .init(downtimeLimitMS: 0), .init(maxBandwidthMB: 1 << 40)] {
                await refusal(.wrongStatus) { try await store.setParameters(of: cold.id, wrong, actor: "ada") }
            }
            #expect(try await store.history(of: cold.id).count == 2)
            await refusal(.notFound) {
                try await store.setParameters(of: "0000", MigrationParameters(maxBandwidthMB: 1), actor: "ada")
            }
        }
    }

    @Test(arguments: Backend.available)
    func `an attempt has one deadline, which goes with it and moves only away`(_ backend: Backend) async throws {
        try await withStore(backend) { store in
            let host = try await store.addHost("one")
            let migration = try await store.claim(store.addServer("web", on: host))
            #expect(try await store.control(of: migration.id, epoch: migration.epoch)?.deadlineInMS == nil)
            let begun = try await store.advance(migration, to: .scheduling) { change in
                change.migration.attempt = 1
                change.deadlineInMS = 5_000
            }
            // The attempt changed from 0 to 1 with it.
            let deadline = try #require(begun.deadlineAt)
            #expect(try await store.apply(MigrationChange(begun), worker: "w1").deadlineAt == deadline)
            var other = MigrationChange(begun)
            other.deadlineInMS = 900_000
            #expect(try await store.apply(other, worker: "w1").deadlineAt == deadline)
            let left = try #require(try await store.control(of: migration.id, epoch: migration.epoch)?.deadlineInMS)
            #expect((1...5_000).contains(left))

            // 1 GiB of disk and 128 MiB of memory, three times, at 1 MB/s instead of 25.
            let slower = try await store.setParameters(of: migration.id, MigrationParameters(maxBandwidthMB: 1), actor: "ada")
            let delayed = try #require(slower.deadlineAt) - deadline
            let bytes = gibibyte + 128 * mebibyte
            #expect(delayed == (bytes * 3 / 1_000_000 - bytes * 3 / 25_000_000) * 1000)
            #expect(try await store.history(of: migration.id).last?.numbers["deadlineDelayMS"] == delayed)
            let faster = try await store.setParameters(of: migration.id, MigrationParameters(maxBandwidthMB: 0), actor: "ada")
            #expect(faster.deadlineAt == slower.deadlineAt)

            let again = try await store.advance(faster, to: .scheduling) { $0.migration.attempt = 2 }
            #expect(again.deadlineAt == nil)
        }
    }
}
