import AgentAPI
import AgentFakes
import Engine
import Fleet
import Staging
import Synchronization
import Testing

/// A worker that can be killed before it is known.
private final class Doomed: Sendable {
    private let task = Mutex<(task: Task<Void, Never>?, isDead: Bool)>((nil, false))

    func be(_ task: Task<Void, Never>) {
        let isDead = self.task.withLock { state in
            state.task = task
            return state.isDead
        }
        if isDead { task.cancel() }
    }

    func die() {
        let task = self.task.withLock { state in
            state.isDead = true
            return state.task
        }
        task?.cancel()
    }
}

@Suite struct LiveCrashTests {
    /// A worker dies before or after each call of an agent; the next one adopts what runs.
    @Test(arguments: 1...24)
    func `a worker dies at an agent's call, and nothing starts over`(number: Int) async throws {
        try await Stage.run { stage in
            let id = try await stage.submit()
            let doomed = Doomed()
            let died = Latch()
            stage.fleet.onCall { count, _ in
                if count == number {
                    doomed.die()
                    died.set()
                }
            }
            let worker = stage.worker("doomed")
            let task = Task { await worker.run(until: Latch()) }
            doomed.be(task)
            await died.wait()
            await task.value
            stage.fleet.onCall(nil)
            try await stage.expireLeases()
            let row = try await stage.withWorker("heir") { try await stage.end(of: id) }
            #expect(row.state == .ready && row.attempt == 1)
            #expect(stage.fleet.world.withLock { $0.nodes["host2"]?.preparations } == 1)
            #expect(try await stage.isWhole(on: "host2"))
        }
    }

    @Test func `both workers dead, the agents end it alone: the next worker has only to say so`() async throws {
        try await Stage.run { stage in
            let id = try await stage.submit()
            let doomed = Doomed()
            let died = Latch()
            stage.fleet.world.withLock { world in
                world.onPhase[.memory] = { _ in
                    doomed.die()
                    died.set()
                }
            }
            let worker = stage.worker("doomed")
            let task = Task { await worker.run(until: Latch()) }
            doomed.be(task)
            await died.wait()
            await task.value
            stage.fleet.world.withLock { world in
                for _ in 0..<10 { world.tick("host1") }
            }
            #expect(stage.running == ["host2"])
            let before = stage.fleet.log.count
            try await stage.expireLeases()
            let row = try await stage.withWorker("heir") { try await stage.end(of: id) }
            #expect(row.state == .ready && row.attempt == 1)
            #expect(stage.fleet.log.dropFirst(before) == ["host1 sendMemory", "host1 discard source"])
            #expect(try await stage.isWhole(on: "host2"))
        }
    }
}
