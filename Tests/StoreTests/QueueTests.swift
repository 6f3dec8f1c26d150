import Backends
import Fleet
import Store
import Testing

@Suite struct QueueTests {
    @Test(arguments: Backend.available)
    func `eight workers draw two hundred migrations and none gets one that another has`(_ backend: Backend) async throws {
        try await withStores(backend, 8) { stores in
            let host = try await stores[0].addHost("one", facts: .sample(cpus: 64, memoryBytes: 64 * gibibyte))
            try await withThrowingTaskGroup(of: Void.self) { group in
                for number in 0..<200 {
                    group.addTask {
                        let store = stores[number % 8]
                        _ = try await store.submit(store.addServer("s\(number)", on: host))
                    }
                }
                try await group.waitForAll()
            }
            let claims = try await withThrowingTaskGroup(of: [Migration].self) { group in
                for (number, store) in stores.enumerated() {
                    group.addTask {
                        var mine: [Migration] = []
                        while true {
                            let more = try await store.claimMigrations(worker: "w\(number)", leaseMS: 60_000, limit: 3)
                            if more.isEmpty { return mine }
                            mine += more
                        }
                    }
                }
                return try await group.reduce(into: []) { $0 += $1 }
            }
            #expect(claims.count == 200)
            #expect(Set(claims.map(\.id)).count == 200)
            #expect(claims.allSatisfy { $0.epoch == Epoch(2) })
        }
    }

    @Test(arguments: Backend.available)
    func `the oldest is drawn first, no more than asked for, and what is not due not at all`(_ backend: Backend) async throws {
        try await withStore(backend) { store in
            let host = try await store.addHost("one")
            var submitted: [MigrationID] = []
            for number in 0..<5 { submitted.append(try await store.submit(store.addServer("s\(number)", on: host)).id) }
            let first = try await store.claimMigrations(worker: "w1", leaseMS: 60_000, limit: 2)
            #expect(first.map(\.id) == Array(submitted[..<2]))
            #expect(try await store.claimMigrations(worker: "w1", leaseMS: 60_000, limit: 0).isEmpty)
            try await store.advance(first[0], to: .scheduling) { change in
                change.releaseLease = true
                change.dueInMS = 600_000
            }
            let rest = try await store.claimMigrations(worker: "w1", leaseMS: 60_000, limit: 10)
            #expect(rest.map(\.id) == Array(submitted[2...]))
            #expect(try await store.claimMigrations(worker: "w1", leaseMS: 60_000, limit: 10).isEmpty)
        }
    }

    @Test(arguments: Backend.available)
    func `an expired lease is taken over under a higher epoch, and its old holder is refused everywhere`(_ backend: Backend) async throws {
        try await withStore(backend) { store in
            let (one, two) = (try await store.addHost("one"), try await store.addHost("two"))
            let server = try await store.addServer("web", on: one)
            let old = try await store.advance(store.claim(server, worker: "w1", leaseMS: 0), to: .scheduling, worker: "w1")
            let new = try #require(try await store.claimMigrations(worker: "w2", leaseMS: 60_000, limit: 1).first)
            #expect(new.id == old.id && new.epoch == old.epoch.next && new.state == .scheduling)
            #expect(try await store.server("web").epoch == new.epoch)

            let sentence = await refusal(.superseded) {
                try await store.renewLease(old.id, epoch: old.epoch, worker: "w1", leaseMS: 60_000)
            }
            #expect(sentence.contains("w2") && sentence.contains("epoch \(new.epoch)"))
            #expect(try await store.recordProgress([ProgressReport(old.id, epoch: old.epoch, Progress())]) == [old.id])
            await refusal(.superseded) {
                try await store.advance(old, to: .syncingDisk, worker: "w1") { change in
                    change.migration.target = two.id
                    change.reserve = .sample(old.id, on: two)
                }
            }
            // The right epoch in the wrong hands is no better.
            await refusal(.superseded) { try await store.apply(MigrationChange(new), worker: "w1") }
            await refusal(.superseded) { try await store.renewLease(new.id, epoch: new.epoch, worker: "w1", leaseMS: 1) }
            #expect(try await store.migration(old.id.value) == new)
            #expect(try await store.history(of: old.id).count == 2)
            #expect(try await store.hostLoads().map(\.inboundMigrations) == [0, 0])
            try await store.apply(MigrationChange(new), worker: "w2")
        }
    }

    @Test(arguments: Backend.available)
    func `a renewed lease is nobody else's`(_ backend: Backend) async throws {
        try await withStore(backend) { store in
            let host = try await store.addHost("one")
            let migration = try await store.claim(store.addServer("web", on: host), leaseMS: 0)
            #expect(try await store.renewLease(migration.id, epoch: migration.epoch, worker: "w1", leaseMS: 60_000) == migration)
            #expect(try await store.claimMigrations(worker: "w2", leaseMS: 60_000, limit: 1).isEmpty)
        }
    }

    @Test(arguments: Backend.available)
    func `a finished migration takes nothing more`(_ backend: Backend) async throws {
        try await withStore(backend) { store in
            let host = try await store.addHost("one")
            let claimed = try await store.claim(store.addServer("web", on: host))
            let failed = try await store.fail(claimed)
            #expect(failed.finishedAt != nil)
            await refusal(.superseded) { try await store.apply(MigrationChange(claimed), worker: "w1") }
            #expect(try await store.recordProgress([ProgressReport(claimed.id, epoch: claimed.epoch, Progress())]) == [claimed.id])
            #expect(try await store.requestCancel(claimed.id, actor: "ada") == failed)
            #expect(try await store.claimMigrations(worker: "w2", leaseMS: 1, limit: 1).isEmpty)
            #expect(try await store.migration(claimed.id.value) == failed)
        }
    }

    @Test(arguments: Backend.available)
    func `the next due time is that of the first retry, lease or cleanup`(_ backend: Backend) async throws {
        try await withStore(backend) { store in
            #expect(try await store.nextDueInMS() == nil)
            let host = try await store.addHost("one")
            let server = try await store.addServer("web", on: host)
            _ = try await store.submit(server)
            #expect(try await store.nextDueInMS() == 0)
            let migration = try #require(try await store.claimMigrations(worker: "w1", leaseMS: 900_000, limit: 1).first)
            #expect((800_000...900_000).contains(try #require(try await store.nextDueInMS())))
            var cleanup = Cleanup(
                id: "c", kind: .target, migration: migration.id, server: server.id, host: host.id, attempt: 1, epoch: migration.epoch,
                dueAt: .now + .seconds(600))
            cleanup.lastError = "not yet"
            let waiting = try await store.advance(migration, to: .scheduling) { change in
                change.cleanups = [cleanup]
                change.releaseLease = true
                change.dueInMS = 300_000
            }
            #expect((200_000...300_000).contains(try #require(try await store.nextDueInMS())))
            #expect(try await store.requestCancel(waiting.id, actor: "ada").state == .failed)
            #expect((500_000...600_000).contains(try #require(try await store.nextDueInMS())))
            try await store.finishCleanup("c")
            #expect(try await store.nextDueInMS() == nil)
        }
    }

    @Test(arguments: Backend.available)
    func `the progress of many is written at once, each under its own epoch`(_ backend: Backend) async throws {
        try await withStore(backend) { store in
            let host = try await store.addHost("one")
            var (held, lost): ([Migration], [Migration]) = ([], [])
            for number in 0..<20 {
                let migration = try await store.claim(store.addServer("s\(number)", on: host))
                if number % 3 == 0 { lost.append(migration) } else { held.append(migration) }
            }
            let reports = try (held + lost).enumerated().map { number, migration in
                try ProgressReport(
                    migration.id, epoch: number < held.count ? migration.epoch : Epoch(migration.epoch.value + 1),
                    Progress(diskTotal: 100, diskDone: Int64(number) + 1))
            }
            #expect(try await store.recordProgress(reports) == Set(lost.map(\.id)))
            for (number, migration) in held.enumerated() {
                #expect(try await store.migration(migration.id.value).progress?.diskDone == Int64(number) + 1)
            }
            for migration in lost { #expect(try await store.migration(migration.id.value).progress == nil) }
        }
    }

    @Test(arguments: Backend.available)
    func `progress is kept through writes that do not know of it, until another attempt begins`(_ backend: Backend) async throws {
        try await withStore(backend) { store in
            let host = try await store.addHost("one")
            let migration = try await store.advance(store.claim(store.addServer("web", on: host)), to: .scheduling)
            let progress = Progress(diskTotal: 10, diskDone: 4, memoryTotal: 7, rate: 3, etaMS: 1_000)
            #expect(try await store.recordProgress([ProgressReport(migration.id, epoch: migration.epoch, progress)]).isEmpty)
            #expect(try await store.migration(migration.id.value).progress == progress)
            #expect(try await store.history(of: migration.id).count == 2)
            #expect(try await store.apply(MigrationChange(migration), worker: "w1").progress == progress)
            var again = migration
            again.attempt = 2
            #expect(try await store.apply(MigrationChange(again), worker: "w1").progress == nil)
        }
    }

    @Test(arguments: Backend.available)
    func `cleanups are drawn by one at a time, put off with what went wrong, and done once`(_ backend: Backend) async throws {
        try await withStores(backend, 2) { stores in
            let host = try await stores[0].addHost("one")
            let server = try await stores[0].addServer("web", on: host)
            let migration = try await stores[0].claim(server)
            let due = Timestamp(milliseconds: 0)
            let cleanups = (0..<20).map { number in
                Cleanup(
                    id: "c\(number)", kind: .target, migration: migration.id, server: server.id, host: host.id, attempt: 1,
                    epoch: migration.epoch, dueAt: due)
            }
            try await stores[0].advance(migration, to: .scheduling) { $0.cleanups = cleanups }
            let drawn = try await withThrowingTaskGroup(of: [Cleanup].self) { group in
                for worker in 0..<4 {
                    group.addTask { try await stores[worker % 2].claimCleanups(worker: "w\(worker)", leaseMS: 60_000, limit: 7) }
                }
                return try await group.reduce(into: []) { $0 += $1 }
            }
            #expect(drawn.count == 20 && Set(drawn.map(\.id)).count == 20)
            #expect(try await stores[0].claimCleanups(worker: "w9", leaseMS: 1, limit: 7).isEmpty)
            try await stores[0].finishCleanup("c0")
            try await stores[0].postponeCleanup("c1", error: "Its host is away.", delayMS: -1)
            let again = try await stores[0].claimCleanups(worker: "w9", leaseMS: 0, limit: 7)
            #expect(again.map(\.id) == ["c1"])
            #expect(again.map(\.tries) == [1] && again.map(\.lastError) == ["Its host is away."])
            // Its holder died: anybody's again.
            #expect(try await stores[1].claimCleanups(worker: "w8", leaseMS: 60_000, limit: 7).map(\.id) == ["c1"])
            #expect(try await stores[1].cleanups().count == 19)
        }
    }
}
