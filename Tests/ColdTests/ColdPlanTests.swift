import AgentAPI
import AgentFakes
import Engine
import Fleet
import Staging
import Steps
import Store
import Synchronization
import Testing

@testable import Cold

@Suite struct ColdPlanTests {
    /// Of a run without trouble.
    private static let orders = [
        "host1 prove write", "host2 prove look", "host1 prove remove", "host1 lend", "host2 receive", "host1 yield", "host2 handOver",
        "host1 discard",
    ]

    @Test func `moves a stopped server, and the history says how`() async throws {
        try await Stage.run { stage in
            let row = try await stage.runToEnd()
            #expect(row.state == .ready && row.attempt == 1)
            #expect(try await stage.isWhole(on: "host2"))
            #expect(stage.fleet.log == Self.orders)
            let history = try await stage.store.history(of: row.id)
            #expect(history.filter { $0.from != $0.to }.map(\.to) == [.pending, .scheduling, .syncingDisk, .switching, .ready])
            let last = try #require(history.last { $0.to == .ready })
            #expect(last.numbers["diskBytes"] == World.bytes && last.numbers["wireBytes"] == World.bytes)
            #expect(row.progress?.diskDone == World.bytes)
        }
    }

    @Test func `with auto-start a controller has a start to see through`() async throws {
        try await Stage.run { stage in
            let row = try await stage.runToEnd(MigrationOptions(autoStart: true))
            #expect(row.state == .ready)
            #expect(try await stage.isWhole(on: "host2", status: .starting))
            let orphans = try await stage.store.claimOperations(owner: "c1", leaseMS: 1000, limit: 10)
            #expect(orphans.map(\.id) == [stage.server.id] && orphans[0].status == .starting)
        }
    }

    @Test(arguments: [["pool"], []]) func `without local disks nothing is synced`(storages: [String]) async throws {
        try await Stage.run(storages: storages) { stage in
            let row = try await stage.runToEnd()
            #expect(row.state == .ready)
            #expect(try await stage.isWhole(on: "host2"))
            #expect(stage.fleet.log == (storages.isEmpty ? Array(Self.orders.dropFirst(3)) : Self.orders))
            let history = try await stage.store.history(of: row.id)
            #expect(history.filter { $0.from != $0.to }.map(\.to) == [.pending, .scheduling, .switching, .ready])
        }
    }

    @Test func `of a local and a shared disk one is synced, and the other one proven`() async throws {
        try await Stage.run(storages: ["pool", "local"]) { stage in
            let row = try await stage.runToEnd()
            #expect(row.state == .ready && row.attempt == 1)
            #expect(try await stage.isWhole(on: "host2"))
            #expect(stage.fleet.log == Self.orders)
            let history = try await stage.store.history(of: row.id)
            #expect(history.filter { $0.from != $0.to }.map(\.to) == [.pending, .scheduling, .syncingDisk, .switching, .ready])
        }
    }

    @Test(arguments: [["pool"], ["local", "pool"]])
    func `a storage that is shared by name alone: nothing is lent to that host, and another one is taken`(storages: [String])
        async throws
    {
        try await Stage.run(storages: storages) { stage in
            stage.fleet.world.withLock { $0.nodes["host2"]?.sees = [] }
            let row = try await stage.runToEnd()
            #expect(row.state == .ready && row.attempt == 2 && row.excluded.count == 1)
            #expect(try await stage.isWhole(on: "host3"))
            let onHost2 = stage.fleet.log.filter { $0.hasPrefix("host2") }
            #expect(onHost2 == ["host2 prove look"])
        }
    }

    @Test func `nowhere the same storage: failed, the source as it was`() async throws {
        try await Stage.run(hosts: ["host1", "host2"], storages: ["pool"]) { stage in
            stage.fleet.world.withLock { $0.nodes["host2"]?.storages["pool"] = .local }
            let row = try await stage.runToEnd()
            #expect(row.state == .failed && row.reason?.code == .notShared)
            #expect(try await stage.isWhole(on: "host1"))
            #expect(!stage.fleet.log.contains { $0.hasSuffix("lend") })
        }
    }

    @Test func `a full disk half-way: rolled back, tried elsewhere`() async throws {
        try await Stage.run { stage in
            stage.fleet.world.withLock { $0.nodes["host2"]?.copyFails = Reason(.diskFull, "no room") }
            let row = try await stage.runToEnd()
            #expect(row.state == .ready && row.attempt == 2 && row.excluded.count == 1)
            #expect(try await stage.isWhole(on: "host3"))
            #expect(stage.fleet.world.withLock { $0.nodes["host2"]?.keepsCopies } == false)
        }
    }

    @Test func `a full disk everywhere: failed, the source as it was`() async throws {
        try await Stage.run(hosts: ["host1", "host2"]) { stage in
            stage.fleet.world.withLock { $0.nodes["host2"]?.copyFails = Reason(.diskFull, "no room") }
            let row = try await stage.runToEnd()
            #expect(row.state == .failed && row.reason?.code == .diskFull)
            #expect(try await stage.isWhole(on: "host1"))
        }
    }

    @Test func `a broken link: what was copied is kept for the next attempt`() async throws {
        try await Stage.run { stage in
            stage.fleet.world.withLock { $0.nodes["host2"]?.copyFails = Reason(.connectionLost, "cut") }
            stage.fleet.onCall { _, call in
                // By now another host would suit better, and has nothing of the copy.
                guard call == "host2 receive" else { return }
                try await stage.store.recordHealth(of: stage.hosts[2].id, facts: .staged(memoryGB: 512), validForMS: 3_600_000)
            }
            let id = try await stage.submit()
            let row = try await stage.withWorker {
                try await stage.eventually("a second attempt") { try await stage.store.migration(id.value).attempt == 2 }
                #expect(stage.fleet.world.withLock { $0.nodes["host2"]?.keepsCopies } == true)
                stage.fleet.world.withLock { $0.nodes["host2"]?.copyFails = nil }
                return try await stage.end(of: id, cleanups: false)
            }
            #expect(row.state == .ready && row.excluded.isEmpty && row.target == stage.hosts[1].id)
            #expect(try await stage.store.cleanups().contains { $0.kind == .target && $0.dueAt > .now })
        }
    }

    @Test(arguments: ["local", "pool"])
    func `past its completion deadline a copy ends, also of no more than what the guest keeps beside its disks`(
        storage: String
    ) async throws {
        try await Stage.run(storages: [storage]) { stage in
            stage.fleet.world.withLock { $0.isFrozen = true }
            let row = try await stage.runToEnd(MigrationOptions(timeoutS: 1))
            #expect(row.state == .failed && row.reason?.code == .timedOut && row.attempt == 1)
            #expect(try await stage.isWhole(on: "host1"))
        }
    }

    @Test func `no byte comes: stalled, and the source as it was`() async throws {
        try await Stage.run { stage in
            stage.fleet.world.withLock { $0.isFrozen = true }
            let id = try await stage.submit(MigrationOptions(stallTimeoutS: 1), maxAttempts: 1)
            let row = try await stage.withWorker { try await stage.end(of: id) }
            #expect(row.state == .failed && row.reason?.code == .stalled)
            #expect(try await stage.isWhole(on: "host1"))
        }
    }

    @Test func `the target's agent is gone: another host is taken`() async throws {
        try await Stage.run { stage in
            stage.fleet.world.withLock { $0.nodes["host2"]?.silentCalls = 1_000_000 }
            let id = try await stage.submit()
            try await stage.withWorker {
                try await stage.eventually("the server has moved") { try await stage.store.migration(id.value).state == .ready }
                stage.fleet.world.withLock { $0.nodes["host2"]?.silentCalls = 0 }
                _ = try await stage.end(of: id)
            }
            #expect(try await stage.isWhole(on: "host3"))
        }
    }

    @Test func `the source's agent is gone: failed, and its loan ends when it is back`() async throws {
        try await Stage.run { stage in
            stage.fleet.onCall { number, call in
                if call == "host2 incoming", number > 4 {
                    stage.fleet.world.withLock { world in
                        world.nodes["host1"]?.silentCalls = 1_000_000
                        world.nodes["host2"]?.copyFails = Reason(.connectionLost, "host1 does not answer")
                    }
                }
            }
            let id = try await stage.submit(maxAttempts: 1)
            try await stage.withWorker {
                try await stage.eventually("it failed") { try await stage.store.migration(id.value).state == .failed }
                stage.fleet.onCall(nil)
                let reason = try await stage.store.migration(id.value).reason
                #expect(reason?.code == .connectionLost && reason?.message.contains("agent of host1") == true)
                stage.fleet.world.withLock { $0.nodes["host1"]?.silentCalls = 0 }
                _ = try await stage.end(of: id)
            }
            #expect(try await stage.isWhole(on: "host1"))
        }
    }

    @Test func `the target is lost after the source gave the server up: awaited, then refused, then taken back`() async throws {
        try await Stage.run { stage in
            stage.fleet.onCall { _, call in
                if call == "host2 handOver" { stage.fleet.world.withLock { $0.nodes["host2"]?.silentCalls = 1_000_000 } }
            }
            let id = try await stage.submit(maxAttempts: 1)
            try await stage.withWorker {
                try await stage.eventually("it awaits the target") {
                    try await stage.store.migration(id.value).awaiting?.contains("host2") == true
                }
                stage.fleet.onCall(nil)
                _ = try await stage.store.requestCancel(id, actor: "ada")
                try await stage.eventually("it turns back") { try await stage.store.migration(id.value).direction == .rollback }
                #expect(stage.homes.isEmpty)
                stage.fleet.world.withLock { $0.nodes["host2"]?.silentCalls = 0 }
                _ = try await stage.end(of: id)
            }
            #expect(try await stage.store.migration(id.value).reason?.code == .cancelled)
            #expect(try await stage.isWhole(on: "host1"))
        }
    }

    /// Every call of an agent of a run without trouble has a number; two more than there are.
    private static let calls = 1...24

    @Test(arguments: calls) func `a worker that dies at any call leaves nothing behind that the next does not finish`(at call: Int)
        async throws
    {
        try await Stage.run { stage in
            let id = try await stage.submit()
            struct Death: Error {}
            let isDead = Mutex(false)
            stage.fleet.onCall { number, _ in
                if number == call { isDead.withLock { $0 = true } }
                if isDead.withLock({ $0 }) { try await hangUntilCancelled() }
            }
            let first = Task { [worker = stage.worker("w1")] in await worker.run(until: Latch()) }
            try await stage.eventually("the worker is at that call, or the end") {
                let isOver = try await stage.store.migration(id.value).state.isFinished
                return isDead.withLock { $0 } || isOver
            }
            first.cancel()
            await first.value
            stage.fleet.onCall(nil)
            try await stage.expireLeases()
            let row = try await stage.withWorker("w2") { try await stage.end(of: id) }
            #expect(row.state == .ready)
            #expect(try await stage.isWhole(on: "host2"))
        }
    }

    @Test(arguments: calls) func `a cancellation at any call leaves the server whole on one host`(at call: Int) async throws {
        try await Stage.run { stage in
            let id = try await stage.submit()
            stage.fleet.onCall { number, _ in
                if number == call { _ = try? await stage.store.requestCancel(id, actor: "ada") }
            }
            let row = try await stage.withWorker(leaseMS: 600) { try await stage.end(of: id) }
            stage.fleet.onCall(nil)
            #expect(try await stage.isWhole(on: row.state == .ready ? "host2" : "host1"))
            #expect(row.state == .ready || row.reason?.code == .cancelled)
            // A second try works at once.
            if row.state == .failed {
                #expect(try await stage.runToEnd().state == .ready)
                #expect(try await stage.isWhole(on: "host2"))
            }
        }
    }
}
