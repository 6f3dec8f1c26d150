import AgentAPI
import AgentFakes
import Engine
import Fleet
import Staging
import Store
import Synchronization
import Testing

@Suite struct RescuePlanTests {
    @Test func `a server moves without its host, which is told when it is back`() async throws {
        try await Stage.run { stage in
            let row = try await stage.runToEnd()
            #expect(row.state == .ready && row.attempt == 1, "\(row)")
            #expect(try await stage.now() == (.ready, "host2"))
            #expect(stage.log == ["host2 adopt"])
            let states = try await stage.store.history(of: row.id).map(\.to)
            #expect(states == [.pending, .scheduling, .switching, .ready])
            let cleanup = try #require(try await stage.store.cleanups().first)
            #expect(cleanup.kind == .source && cleanup.host == stage.hosts[0].id)

            try await stage.withWorker {
                try await stage.eventually("the old host was asked in vain") { try await stage.store.cleanups().first?.tries ?? 0 > 2 }
                stage.fleet.world.withLock { $0.nodes["host1"]?.isUp = true }
                try await stage.eventually("the old host gave way") { try await stage.store.cleanups().isEmpty }
            }
            #expect(stage.log == ["host2 adopt", "host1 discard source host2"])
            let history = try await stage.store.history(of: row.id)
            let last = try #require(history.last)
            #expect(history.count == 5 && last.from == .ready && last.to == .ready && last.reason?.code == .guestEnded)
            #expect(last.reason?.message.contains("host1 is back and still ran the guest") == true, "\(last)")
            #expect(try await stage.store.migration(row.id.value).state == .ready)
        }
    }

    @Test func `a host that comes back empty is not worth a line`() async throws {
        try await Stage.run(status: .ready) { stage in
            let row = try await stage.runToEnd()
            #expect(try await stage.now() == (.ready, "host2"))
            stage.fleet.world.withLock { $0.nodes["host1"]?.isUp = true }
            try await stage.withWorker { try await stage.eventually("cleaned up") { try await stage.store.cleanups().isEmpty } }
            #expect(try await stage.store.history(of: row.id).count == 4)
        }
    }

    @Test func `with auto-start it is starting, for any controller to see through`() async throws {
        try await Stage.run { stage in
            _ = try await stage.runToEnd(MigrationOptions(autoStart: true, confirmHostDown: true))
            #expect(try await stage.now() == (.starting, "host2"))
            let before = try await stage.store.server(stage.server.id.value)
            let claimed = try await stage.store.claimOperations(owner: "c1", leaseMS: 1000, limit: 10)
            #expect(claimed.map(\.id) == [stage.server.id] && claimed.first?.epoch == before.epoch.next)
            try await stage.store.finishOperation(stage.server.id, epoch: claimed[0].epoch, status: .running, note: nil)
            #expect(try await stage.now() == (.running, "host2"))
        }
    }

    @Test func `nobody vouches, the host answers, a disk is local: refused, and nothing changed`() async throws {
        func refusal(_ stage: Stage, _ options: MigrationOptions) async throws -> StoreError? {
            let error = await #expect(throws: StoreError.self) { _ = try await stage.submit(options) }
            let checked = await #expect(throws: StoreError.self) {
                try await stage.store.checkRescue(of: stage.server.id, options: options)
            }
            #expect(error?.message == checked?.message)
            #expect(try await stage.now() == (.running, "host1"))
            return error
        }
        try await Stage.run { stage in
            let unconfirmed = try await refusal(stage, MigrationOptions())
            #expect(unconfirmed?.code == .hostNotDown && unconfirmed?.message.contains("--confirm-host-down") == true)
            try await stage.seeHost1(true)
            let answering = try await refusal(stage, MigrationOptions(confirmHostDown: true))
            #expect(answering?.code == .hostNotDown && answering?.message.contains("host1") == true)
        }
        try await Stage.run(storages: ["shared", "local"]) { stage in
            let local = try await refusal(stage, MigrationOptions(confirmHostDown: true))
            #expect(local?.code == .localDisk && local?.message.contains("disk1") == true, "\(String(describing: local))")
        }
    }

    @Test(arguments: [true, false])
    func `the host is back before the rescue begins: the server stays what it was`(controllersKnow: Bool) async throws {
        try await Stage.run { stage in
            let id = try await stage.submit()
            if controllersKnow { try await stage.seeHost1(true) }
            stage.fleet.world.withLock { $0.nodes["host1"]?.isUp = true }
            let row = try await stage.withWorker { try await stage.end(of: id) }
            #expect(row.state == .failed && row.reason?.code == .hostNotDown && row.attempt == 1)
            #expect(try await stage.now() == (.running, "host1"))
            #expect(stage.log.isEmpty)
            #expect(stage.fleet.world.withLock { $0.nodes["host1"]?.isRunning } == true)
        }
    }

    @Test func `a target without the storage is passed over`() async throws {
        try await Stage.run { stage in
            stage.fleet.world.withLock { $0.nodes["host2"]?.problems["adopt"] = AgentProblem(.failed, .notShared, "host2 finds no disk0.") }
            let row = try await stage.runToEnd()
            #expect(row.state == .ready && row.attempt == 2 && row.excluded[stage.hosts[1].id]?.code == .notShared)
            #expect(try await stage.now() == (.ready, "host3"))
            #expect(stage.log == ["host2 adopt", "host2 refuse", "host2 discard target -", "host3 adopt"])
            #expect(stage.fleet.world.withLock { $0.nodes["host3"]?.owners } == ["host1", "host2"])
        }
    }

    @Test func `a target that died over it gives it up when it is back`() async throws {
        try await Stage.run { stage in
            stage.fleet.world.withLock { $0.nodes["host2"]?.diesAdopting = true }
            let row = try await stage.runToEnd()
            #expect(row.state == .ready && row.attempt == 2)
            #expect(try await stage.now() == (.ready, "host3"))
            stage.fleet.world.withLock {
                $0.nodes["host2"]?.isUp = true
                $0.nodes["host1"]?.isUp = true
            }
            try await stage.withWorker { try await stage.eventually("cleaned up") { try await stage.store.cleanups().isEmpty } }
            let adopted = stage.fleet.world.withLock { $0.nodes.filter { $0.value.adopted != nil }.keys.sorted() }
            #expect(adopted == ["host3"])
        }
    }

    @Test func `no host sees the storage: failed, and the server is what it was`() async throws {
        try await Stage.run(status: .ready) { stage in
            for host in stage.hosts.dropFirst() { _ = try await stage.store.setHostEnabled(host.id, false) }
            let row = try await stage.runToEnd()
            #expect(row.state == .failed && row.reason?.code == .noHost)
            #expect(try await stage.now() == (.ready, "host1"))
            #expect(stage.log.isEmpty)
        }
    }

    /// A worker dies before it asks the source, and the target, and the source again, and before and after the target adopts. The other calls
    /// give no answer that it could die of.
    @Test(arguments: [1, 3, 5, 7, 8])
    func `a worker dies at an agent's call, and the next one ends it`(number: Int) async throws {
        try await Stage.run { stage in
            let id = try await stage.submit()
            try await stage.dieAtCall(number)
            let row = try await stage.withWorker("w2") { try await stage.end(of: id) }
            #expect(row.state == .ready && row.attempt == 1, "\(row)")
            #expect(try await stage.now() == (.ready, "host2"))
        }
    }

    @Test func `the host is back after another adopted the server: it is rescued`() async throws {
        try await Stage.run { stage in
            let id = try await stage.submit()
            try await stage.dieAtCall(8)
            try await stage.seeHost1(true)
            stage.fleet.world.withLock { $0.nodes["host1"]?.isUp = true }
            let row = try await stage.withWorker("w2") { try await stage.end(of: id) }
            #expect(row.state == .ready && row.attempt == 1, "\(row)")
            #expect(try await stage.now() == (.ready, "host2"))
        }
    }

    @Test func `the host is back while the rescue waits for a place: the server stays what it was`() async throws {
        try await Stage.run { stage in
            for host in stage.hosts { _ = try await stage.store.setHostLimits(host.id, inbound: 0) }
            let id = try await stage.submit()
            try await stage.withWorker {
                try await stage.eventually("it waits") { try await stage.store.migration(id.value).awaiting != nil }
                try await stage.seeHost1(true)
                stage.fleet.world.withLock { $0.nodes["host1"]?.isUp = true }
                _ = try await stage.store.setHostLimits(stage.hosts[1].id, inbound: 1)
                let row = try await stage.end(of: id)
                #expect(row.state == .failed && row.reason?.code == .hostNotDown && row.attempt == 1)
            }
            #expect(try await stage.now() == (.running, "host1"))
            #expect(!stage.log.contains { $0.hasSuffix("adopt") })
        }
    }
}

extension Stage {
    /// A worker dies at an agent's call of that number.
    fileprivate func dieAtCall(_ number: Int) async throws {
        let reached = Latch()
        fleet.onCall { call, _ in
            guard call == number else { return }
            reached.set()
            try await hangUntilCancelled()
        }
        let worker = worker("doomed")
        let doomed = Task { await worker.run(until: Latch()) }
        await reached.wait()
        doomed.cancel()
        await doomed.value
        fleet.onCall(nil)
        try await expireLeases()
    }
}
