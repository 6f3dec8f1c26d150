import Backends
import Fleet
import SQL
import Store
import Testing

@Suite struct SubmitTests {
    @Test(arguments: Backend.available)
    func `a migration keeps all that was asked`(_ backend: Backend) async throws {
        try await withStore(backend) { store in
            let (one, two) = (try await store.addHost("one"), try await store.addHost("two"))
            let server = try await store.addServer("web", on: one)
            let options = MigrationOptions(
                preferHost: two.id, maxBandwidthMB: 100, skipCPUCheck: true, skipKernelCheck: true, downtimeLimitMS: 500)
            let migration = try await store.submitMigration(
                server: server.id, mode: .live, options: options, maxAttempts: 2, actor: "ada")
            #expect(migration.options == options)
            #expect(migration.mode == .live && migration.state == .pending && migration.direction == .forward)
            #expect(migration.attempt == 0 && migration.maxAttempts == 2 && migration.actor == "ada")
            #expect(migration.source == one.id && migration.target == nil && migration.finishedAt == nil)
            #expect(migration.epoch == server.epoch)
            #expect(try await store.migration(migration.id.value) == migration)
            let history = try await store.history(of: migration.id)
            #expect(history.map(\.to) == [.pending] && history.map(\.from) == [nil] && history.map(\.actor) == ["ada"])
        }
    }

    @Test(arguments: Backend.available)
    func `a second unfinished migration is refused, and leaves no trace`(_ backend: Backend) async throws {
        try await withStore(backend) { store in
            let host = try await store.addHost("one")
            let server = try await store.addServer("web", on: host)
            let first = try await store.submit(server)
            let sentence = await refusal(.busy) { try await store.submit(server) }
            #expect(sentence.contains(first.id.value))
            #expect(try await store.migrations(MigrationFilter()).count == 1)
            let transitions = try await store.database.read { try await $0.query("SELECT seq FROM transitions") }
            #expect(transitions.count == 1)
            // Once it is over the next may come.
            let claimed = try await store.claimMigrations(worker: "w1", leaseMS: 60_000, limit: 1)
            try await store.fail(#require(claimed.first))
            _ = try await store.submit(server)
        }
    }

    @Test(arguments: Backend.available)
    func `of many who submit for one server at once, one is accepted`(_ backend: Backend) async throws {
        try await withStores(backend, 3) { stores in
            let host = try await stores[0].addHost("one")
            let server = try await stores[0].addServer("web", on: host)
            let accepted = await withTaskGroup(of: Bool.self) { group in
                for number in 0..<12 {
                    group.addTask {
                        do {
                            _ = try await stores[number % 3].submit(server)
                            return true
                        } catch {
                            #expect((error as? StoreError)?.code == .busy, "\(error)")
                            return false
                        }
                    }
                }
                return await group.reduce(0) { $0 + ($1 ? 1 : 0) }
            }
            #expect(accepted == 1)
        }
    }

    @Test(
        arguments: Backend.available,
        [(Mode.live, ServerStatus.ready), (.cold, .running)])
    func `a mode needs its status`(_ backend: Backend, _ pair: (mode: Mode, status: ServerStatus)) async throws {
        try await withStore(backend) { store in
            let host = try await store.addHost("one")
            let server = try await store.addServer("web", on: host, status: pair.status)
            await refusal(.wrongStatus) { try await store.submit(server, mode: pair.mode) }
            #expect(try await store.server("web").status == pair.status)
            _ = try await store.submit(server, mode: pair.mode == .live ? .cold : .live)
        }
    }

    @Test(arguments: Backend.available)
    func `an unknown server is told, and one under an operation is busy`(_ backend: Backend) async throws {
        try await withStore(backend) { store in
            let host = try await store.addHost("one")
            let server = try await store.createServer(.sample("web", on: host.id), owner: "c1", leaseMS: 60_000)
            await refusal(.busy) { try await store.submit(server) }
            await refusal(.notFound) { try await store.submit(.sample("none", on: host.id)) }
        }
    }

    @Test(arguments: Backend.available)
    func `a cancellation is seen at the next renewal, makes a waiting one due, and survives the worker's writes`(
        _ backend: Backend
    ) async throws {
        try await withStore(backend) { store in
            let host = try await store.addHost("one")
            let server = try await store.addServer("web", on: host)
            let migration = try await store.claim(server)
            #expect(try await store.requestCancel(migration.id, actor: "ada").cancelRequested)
            let renewed = try await store.renewLease(migration.id, epoch: migration.epoch, worker: "w1", leaseMS: 60_000)
            #expect(renewed.cancelRequested)
            // A worker that does not know of it yet puts it off: it stays asked for.
            let written = try await store.advance(migration, to: .scheduling) { change in
                change.releaseLease = true
                change.dueInMS = 600_000
            }
            #expect(written.cancelRequested)
            #expect(try await store.nextDueInMS() ?? 0 > 500_000)
            let other = try await store.addServer("db", on: host)
            let waiting = try await store.advance(store.claim(other), to: .scheduling) { change in
                change.releaseLease = true
                change.dueInMS = 600_000
                change.journal = [JournalEntry(attempt: 1, step: "place", position: 0, status: .started)]
            }
            #expect(try await store.requestCancel(waiting.id, actor: "ada").state == .scheduling)
            #expect(try await store.claimMigrations(worker: "w1", leaseMS: 1, limit: 5).map(\.id) == [waiting.id])
            let history = try await store.history(of: waiting.id)
            #expect(history.last?.actor == "ada" && history.last?.reason?.code == .cancelRequested)
            await refusal(.notFound) { try await store.requestCancel("0000", actor: "ada") }
        }
    }
}
