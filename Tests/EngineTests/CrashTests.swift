import AgentFakes
import Fleet
import Store
import Synchronization
import Testing

@testable import Engine

/// A worker dies at every place where it can, and the next one goes on.
@Suite struct CrashTests {
    /// Runs once, dying where the hook says so.
    private static func runAndDie(_ ground: Ground, _ plan: Plan, _ arm: (@escaping @Sendable () -> Void) -> Void) async throws {
        let run = Mutex<Task<MigrationRun.Ending?, any Error>?>(nil)
        let armed = Latch()
        arm { run.withLock { $0 }?.cancel() }
        let task = Task {
            await armed.wait()
            return try await ground.runOnce(plan, worker: "w1")
        }
        run.withLock { $0 = task }
        armed.set()
        do {
            _ = try await task.value
        } catch {
            // Also the claim may have been cut.
        }
    }

    /// A plan whose memory step fails, so that everything has to be undone.
    private static func failing(_ ground: Ground, _ recorder: Recorder) -> Plan {
        var script = Script(target: ground.target.id)
        script.memory = { _ in throw Fault(.guestStopped, "The guest ended.", remedy: .none) }
        return script.plan(recorder)
    }

    private static func withoutRepeats(_ calls: [String]) -> [String] {
        calls.reduce(into: []) { if $0.last != $1 { $0.append($1) } }
    }

    private static func check(_ ground: Ground, _ id: MigrationID, _ recorder: Recorder, fails: Bool) async throws {
        let row = try await ground.store.migration(id.value)
        let forward = fails ? ["place", "prepare", "copy", "memory"] : Script.names
        let expected = fails ? forward + forward.reversed().map { "undo \($0)" } : forward
        #expect(withoutRepeats(recorder.calls) == expected, "steps in order, and none again that was done")
        #expect(recorder.overlaps.isEmpty)
        #expect(row.state == (fails ? .failed : .ready))
        #expect(row.attempt == 1)
        #expect(recorder.effects == (fails ? [] : Set(Script.names)))
        let states: [MigrationState] =
            fails
            ? [.pending, .scheduling, .syncingDisk, .syncingMemory, .failed]
            : [.pending, .scheduling, .syncingDisk, .syncingMemory, .switching, .ready]
        #expect(try await ground.states(of: id) == states)
        // One row a change: nothing was recorded twice.
        #expect(try await ground.store.history(of: id).count == (fails ? 6 : 6))
        let server = try await ground.store.server(row.server.value)
        #expect(server.host == (fails ? ground.source.id : ground.target.id))
        #expect(server.status == (fails ? .ready : .running))
        #expect(try await ground.store.cleanups().count == (fails ? 0 : 1))
        #expect(try await ground.store.hostLoads().allSatisfy { $0.inboundMigrations == 0 })
    }

    private static func finish(_ ground: Ground, _ plan: Plan, _ id: MigrationID) async throws {
        for _ in 0..<10 {
            try await ground.expireLeases()
            _ = try await ground.runOnce(plan, worker: "w2")
            if try await ground.store.migration(id.value).state.isFinished { return }
        }
        throw TooLate("the next worker ended it")
    }

    @Test(arguments: 1...12)
    func `dies in a step going forward`(point: Int) async throws {
        try await withGround { ground in
            let id = try await ground.submit().id
            let recorder = Recorder()
            let plan = Script(target: ground.target.id).plan(recorder)
            try await Self.runAndDie(ground, plan) { die in
                recorder.atPoint { if $0 == point { die() } }
            }
            #expect(try await ground.store.migration(id.value).state.isFinished == false)
            #expect(recorder.points == point)
            recorder.atPoint(nil)
            try await Self.finish(ground, plan, id)
            try await Self.check(ground, id, recorder, fails: false)
        }
    }

    @Test(arguments: 1...16)
    func `dies in a step going forward or back`(point: Int) async throws {
        try await withGround { ground in
            let id = try await ground.submit(maxAttempts: 1).id
            let recorder = Recorder()
            let plan = Self.failing(ground, recorder)
            try await Self.runAndDie(ground, plan) { die in
                recorder.atPoint { if $0 == point { die() } }
            }
            #expect(recorder.points == point)
            recorder.atPoint(nil)
            try await Self.finish(ground, plan, id)
            try await Self.check(ground, id, recorder, fails: true)
        }
    }

    @Test(arguments: 2...12, [HookedDatabase.Moment.before, .after])
    func `dies at a write, before it or after its commit`(number: Int, moment: HookedDatabase.Moment) async throws {
        for fails in [false, true] {
            try await withGround { ground in
                let id = try await ground.submit(maxAttempts: 1).id
                let recorder = Recorder()
                let plan = fails ? Self.failing(ground, recorder) : Script(target: ground.target.id).plan(recorder)
                try await Self.runAndDie(ground, plan) { die in
                    ground.database.onWrite { count, now in
                        guard count == number, now == moment else { return }
                        die()
                        throw StoreError(.unavailable, "the process is gone")
                    }
                }
                ground.database.onWrite(nil)
                if try await !ground.store.migration(id.value).state.isFinished { try await Self.finish(ground, plan, id) }
                try await Self.check(ground, id, recorder, fails: fails)
            }
        }
    }
}
