import AgentAPI
import AgentFakes
import Engine
import Fleet
import Staging
import Store
import Synchronization
import Testing

@testable import Live

/// Servers whose disks rest on a base image.
@Suite(.serialized) struct BasePlanTests {
    private static let base = "0123456789abcdef0123456789abcdef.qcow2"

    private static func run(hosts: [String] = ["host1", "host2", "host3"], _ body: (Stage) async throws -> Void) async throws {
        try await Stage.run(hosts: hosts, base: base) { stage in
            stage.fleet.world.withLock { _ = $0.nodes["host1"]?.bases.insert(base) }
            try await body(stage)
        }
    }

    private static func holds(_ name: String, _ stage: Stage) -> Bool {
        stage.fleet.world.withLock { $0.nodes[name]?.bases.contains(base) == true }
    }

    private static func isLent(_ stage: Stage) -> Bool {
        stage.fleet.world.withLock { $0.nodes["host1"]?.loan?.phase == .lent }
    }

    @Test func `brings it first where it is missing, and says so`() async throws {
        try await Self.run { stage in
            let row = try await stage.runToEnd(MigrationOptions(maxBandwidthMB: 100))
            #expect(row.state == .ready && row.attempt == 1)
            #expect(try await stage.isWhole(on: "host2"))
            #expect(
                stage.fleet.log == [
                    "host1 lend", "host2 receive", "host1 takeBack", "host2 prepare", "host1 mirror", "host1 sendMemory",
                    "host1 discard source",
                ])
            #expect(Self.holds("host2", stage) && !Self.isLent(stage))
            let history = try await stage.store.history(of: row.id)
            let told = try #require(history.first { $0.reason?.code == "base-brought" })
            #expect(told.reason?.message.contains("host2") == true && told.reason?.message.contains(Self.base) == true)
            #expect(told.to == .syncingDisk)
            let end = try #require(history.last { $0.to == .ready }).numbers
            #expect(end["baseBytes"] == World.baseBytes && end["diskBytes"] == World.baseBytes + World.diskBytes)
            #expect(row.progress?.diskDone == World.baseBytes + World.diskBytes)
            #expect(row.progress?.diskTotal == row.progress?.diskDone)
        }
    }

    @Test func `it counts for what is done until the very end, of a post-copy too`() async throws {
        try await Self.run { stage in
            stage.fleet.world.withLock { $0.fetchingTicks = .max }
            let id = try await stage.submit(MigrationOptions(postCopy: true))
            try await stage.withWorker {
                try await stage.eventually("the target runs") { stage.running == ["host2"] }
                // Several are written meanwhile.
                let since = ContinuousClock.now
                try await stage.eventually("a second has passed") {
                    let progress = try await stage.store.migration(id.value).progress
                    #expect(progress?.diskDone == World.baseBytes + World.diskBytes)
                    return ContinuousClock.now - since > .seconds(1)
                }
                stage.fleet.world.withLock { $0.fetchingTicks = 1 }
                #expect(try await stage.end(of: id).state == .ready)
            }
        }
    }

    @Test func `brings nothing where it is there`() async throws {
        try await Self.run { stage in
            stage.fleet.world.withLock { _ = $0.nodes["host2"]?.bases.insert(Self.base) }
            let row = try await stage.runToEnd()
            #expect(row.state == .ready)
            #expect(stage.fleet.log == ["host2 prepare", "host1 mirror", "host1 sendMemory", "host1 discard source"])
            let history = try await stage.store.history(of: row.id)
            #expect(history.last?.numbers["baseBytes"] == nil && row.progress?.diskDone == World.diskBytes)
        }
    }

    @Test func `a target without room for it is left for another, one that cannot read is tried again`() async throws {
        try await Self.run { stage in
            stage.fleet.world.withLock { $0.nodes["host2"]?.copyFails = Reason(.diskFull, "storage local has 1 MiB free") }
            let row = try await stage.runToEnd()
            #expect(row.state == .ready && row.attempt == 2)
            #expect(
                row.excluded[stage.hosts[1].id]?.message
                    == "host2: storage local has 1 MiB free. Free some room on host2, or choose another host with --prefer-host.")
            #expect(try await stage.isWhole(on: "host3"))
            #expect(!Self.holds("host2", stage) && !Self.isLent(stage))
        }
        try await Self.run { stage in
            stage.fleet.world.withLock { $0.nodes["host2"]?.copyFails = Reason(.connectionLost, "no route to host1") }
            stage.fleet.onCall { number, call in
                guard call == "host2 refuse" else { return }
                stage.fleet.world.withLock { $0.nodes["host2"]?.copyFails = nil }
            }
            let id = try await stage.submit()
            try await stage.withWorker {
                // A cleanup waits until what is kept is of no use any more.
                let row = try await stage.end(of: id, cleanups: false)
                #expect(row.state == .ready && row.attempt == 2)
                try await stage.eventually("it is whole there") { try await stage.isWhole(on: "host2") }
            }
            let keeps = stage.fleet.world.withLock { $0.nodes["host2"]?.discarded.first?.keepsCopies }
            #expect(keeps == true)
        }
    }

    @Test func `the source has lost it: fails, and the server runs on`() async throws {
        try await Self.run(hosts: ["host1", "host2"]) { stage in
            stage.fleet.world.withLock { $0.nodes["host1"]?.bases = [] }
            let row = try await stage.runToEnd(maxAttempts: 1)
            #expect(row.state == .failed && row.reason?.code == .baseMissing)
            #expect(try await stage.isWhole(on: "host1"))
        }
    }

    @Test func `another bandwidth is handed on while it is copied`() async throws {
        try await Self.run { stage in
            stage.fleet.onCall { number, call in
                guard call == "host2 receive" else { return }
                stage.fleet.world.withLock { $0.isFrozen = true }
            }
            let id = try await stage.submit(MigrationOptions(maxBandwidthMB: 10))
            try await stage.withWorker {
                try await stage.eventually("it is being copied") { stage.fleet.world.withLock { $0.nodes["host2"]?.incoming != nil } }
                stage.fleet.onCall(nil)
                _ = try await stage.store.setParameters(of: id, MigrationParameters(maxBandwidthMB: 20), actor: "ada")
                try await stage.eventually("the target knows") {
                    stage.fleet.world.withLock { $0.nodes["host2"]?.bandwidths == [10_000_000, 20_000_000] }
                }
                stage.fleet.world.withLock { $0.isFrozen = false }
                #expect(try await stage.end(of: id).state == .ready)
            }
        }
    }

    /// Calls of an agent from the look for images to the end of their loan, in a run without trouble.
    private static let calls = 7...20

    @Test(arguments: calls) func `a worker that dies at any call leaves nothing that the next does not finish`(at call: Int) async throws {
        try await Self.run { stage in
            let id = try await stage.submit()
            let isDead = Mutex(false)
            stage.fleet.onCall { number, _ in
                if number == call { isDead.withLock { $0 = true } }
                if isDead.withLock({ $0 }) { try await hangUntilCancelled() }
            }
            let first = Task { [worker = stage.worker("w1")] in await worker.run(until: Latch()) }
            try await stage.eventually("the worker is at that call") { isDead.withLock { $0 } }
            first.cancel()
            await first.value
            stage.fleet.onCall(nil)
            try await stage.expireLeases()
            let row = try await stage.withWorker("w2") { try await stage.end(of: id) }
            #expect(row.state == .ready && row.attempt == 1)
            #expect(try await stage.isWhole(on: "host2"))
            #expect(!Self.isLent(stage))
            let history = try await stage.store.history(of: id)
            #expect(history.filter { $0.reason?.code == "base-brought" }.count == 1)
            #expect(history.last { $0.to == .ready }?.numbers["baseBytes"] == World.baseBytes)
            #expect(row.progress?.diskDone == World.baseBytes + World.diskBytes)
        }
    }

    @Test(arguments: calls) func `a cancellation at any call leaves the server where it was, and nothing lent`(at call: Int) async throws {
        try await Self.run { stage in
            let id = try await stage.submit()
            stage.fleet.onCall { number, _ in
                if number == call { _ = try? await stage.store.requestCancel(id, actor: "ada") }
            }
            let row = try await stage.withWorker { try await stage.end(of: id) }
            stage.fleet.onCall(nil)
            #expect(row.state == .ready || row.reason?.code == .cancelled)
            #expect(try await stage.isWhole(on: row.state == .ready ? "host2" : "host1"))
            #expect(!Self.isLent(stage))
            guard row.state == .failed else { return }
            #expect(try await stage.runToEnd().state == .ready)
            #expect(try await stage.isWhole(on: "host2"))
        }
    }
}
