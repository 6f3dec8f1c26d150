import AgentFakes
import Fleet
import Staging
import Store
import Synchronization
import Testing

@testable import Engine

/// Cancellations, deadlines and parameters while a worker is at it, by the machine's own clock.
@Suite struct ControlTests {
    private static func hang(_ begun: Latch) -> @Sendable (StepContext) async throws -> StepResult {
        { _ in
            begun.set()
            try await hangUntilCancelled()
            return StepResult()
        }
    }

    private static func script(_ target: HostID, hangingAt step: String, _ begun: Latch) -> Script {
        var script = Script(target: target)
        switch step {
        case "place": script.place = hang(begun)
        case "prepare": script.prepare = hang(begun)
        case "copy": script.copy = hang(begun)
        case "memory": script.memory = hang(begun)
        default: script.handOver = hang(begun)
        }
        return script
    }

    /// How long the history says that it took from the request to the end, in milliseconds.
    private static func cancellationMS(_ ground: Ground, _ id: MigrationID) async throws -> Int64 {
        let history = try await ground.store.history(of: id)
        let asked = try #require(history.first { $0.reason?.code == .cancelRequested })
        let ended = try #require(history.last)
        #expect(asked.actor == "ada" && ended.to == .failed)
        return ended.at - asked.at
    }

    @Test(arguments: ["place", "prepare", "copy", "memory", "switch"])
    func `a cancellation is seen within a second in every step, far from the lease's renewal`(step: String) async throws {
        try await withGround { ground in
            let id = try await ground.submit().id
            let begun = Latch()
            let recorder = Recorder()
            let plan = Self.script(ground.target.id, hangingAt: step, begun).plan(recorder)
            var settings = EngineSettings.quick
            settings.leaseMS = 60_000
            async let ending = ground.runOnce(plan, settings: settings)
            await begun.wait()
            _ = try await ground.store.requestCancel(id, actor: "ada")
            #expect(try await ending == .finished)
            let row = try await ground.store.migration(id.value)
            #expect(row.state == .failed && row.reason?.code == .cancelled && recorder.effects.isEmpty)
            let took = try await Self.cancellationMS(ground, id)
            print("cancelled in \(step): \(took) ms")
            #expect(took < 3_000)
            // The next one need not wait for anything.
            let again = try await ground.store.submitMigration(
                server: row.server, mode: .live, options: MigrationOptions(), maxAttempts: 1, actor: "ada")
            #expect(try await ground.runToEnd(Script(target: ground.target.id).plan(Recorder()), again.id).state == .ready)
        }
    }

    @Test func `what is awaited on the way forward does not hold up a cancellation`() async throws {
        try await withGround { ground in
            let id = try await ground.submit().id
            let begun = Latch()
            var script = Script(target: ground.target.id)
            script.memory = { _ in
                begun.set()
                throw Awaiting("somebody who never comes")
            }
            var settings = EngineSettings.quick
            settings.awaiting = Backoff(base: .seconds(60), cap: .seconds(60))
            let plan = script.plan(Recorder())
            async let ending = ground.runOnce(plan, settings: settings)
            await begun.wait()
            _ = try await ground.store.requestCancel(id, actor: "ada")
            #expect(try await ending == .finished)
            #expect(try await ground.store.migration(id.value).reason?.code == .cancelled)
        }
    }

    @Test func `a cancellation while it rolls back forbids the next try, however long is waited`() async throws {
        try await withGround { ground in
            let id = try await ground.submit().id
            let (waiting, isBack) = (Latch(), Latch())
            var script = Script(target: ground.target.id)
            script.memory = { _ in throw Fault(.connectionLost, "The connection broke.", remedy: .sameTarget) }
            script.undoMemory = { _ in
                guard !isBack.isSet else { return .done }
                waiting.set()
                throw Awaiting("the agent of host1")
            }
            let plan = script.plan(Recorder())
            async let ending = ground.runOnce(plan)
            await waiting.wait()
            _ = try await ground.store.requestCancel(id, actor: "ada")
            try await eventually("the history says so") {
                try await ground.store.history(of: id).contains { $0.reason?.code == .cancelled && $0.direction == .rollback }
            }
            isBack.set()
            #expect(try await ending == .finished)
            let row = try await ground.store.migration(id.value)
            #expect(row.state == .failed && row.reason?.code == .cancelled && row.attempt == 1)
        }
    }

    @Test func `a cancellation that comes when all is done says that it came too late`() async throws {
        try await withGround { ground in
            let id = try await ground.submit().id
            var script = Script(target: ground.target.id)
            script.handOver = { context in
                // Deaf to it, as a step that has just got its answer.
                await Task {
                    _ = try? await ground.store.requestCancel(id, actor: "ada")
                }.value
                return StepResult()
            }
            _ = try await ground.runOnce(script.plan(Recorder()))
            let row = try await ground.store.migration(id.value)
            #expect(row.state == .ready && row.cancelRequested)
            let last = try #require(try await ground.store.history(of: id).last)
            #expect(last.reason?.code == .tooLate && last.to == .ready)
        }
    }

    // MARK: deadlines

    @Test(arguments: ["prepare", "copy", "memory"])
    func `past its completion deadline a step is stopped, and the migration ends`(step: String) async throws {
        try await withGround { ground in
            let id = try await ground.submit(options: MigrationOptions(timeoutS: 1)).id
            let recorder = Recorder()
            let plan = Self.script(ground.target.id, hangingAt: step, Latch()).plan(recorder)
            #expect(try await ground.runOnce(plan) == .finished)
            let row = try await ground.store.migration(id.value)
            #expect(row.state == .failed && row.reason?.code == .timedOut && row.attempt == 1 && recorder.effects.isEmpty)
            #expect(row.reason?.message.contains("within 1 s") == true && row.reason?.message.contains("--timeout") == true)
            #expect(try await ground.store.server(row.server.value).status == .running)
        }
    }

    @Test func `to wait for a place takes nothing of the completion deadline`() async throws {
        try await withGround { ground in
            let migration = try await ground.submit(options: MigrationOptions(timeoutS: 1))
            var script = Script(target: ground.target.id)
            let place = script.place
            script.place = { context in
                try await eventually("longer than the deadline") { Timestamp.now - migration.createdAt > 1_500 }
                return try await place(context)
            }
            script.copy = { context in
                let deadline = try #require(context.migration.deadlineAt)
                #expect(deadline - migration.createdAt > 2_500)
                return StepResult(event: .disksSynced)
            }
            #expect(try await ground.runOnce(script.plan(Recorder())) == .finished)
            #expect(try await ground.store.migration(migration.id.value).state == .ready)
        }
    }

    @Test func `once the switchover is decided the deadline does not count`() async throws {
        try await withGround { ground in
            let id = try await ground.submit(options: MigrationOptions(timeoutS: 1)).id
            var script = Script(target: ground.target.id)
            script.handOver = { context in
                try await eventually("the deadline has passed") {
                    try await ground.store.control(of: id, epoch: context.migration.epoch)?.deadlineInMS ?? 0 < -700
                }
                return StepResult()
            }
            _ = try await ground.runOnce(script.plan(Recorder()))
            #expect(try await ground.store.migration(id.value).state == .ready)
        }
    }

    @Test func `an attempt that nobody set a time for has a deadline by its size, and the next attempt one of its own`() async throws {
        try await withGround { ground in
            let id = try await ground.submit().id
            let seen = Mutex<[Timestamp?]>([])
            var script = Script(target: ground.target.id)
            script.copy = { context in
                seen.withLock { $0.append(context.migration.deadlineAt) }
                if context.migration.attempt == 1 { throw Fault(.connectionLost, "The connection broke.", remedy: .sameTarget) }
                return StepResult(event: .disksSynced)
            }
            let row = try await ground.runToEnd(script.plan(Recorder()), id)
            let deadlines = seen.withLock { $0 }.compactMap { $0 }
            #expect(row.state == .ready && deadlines.count == 2 && deadlines[0] < deadlines[1])
            #expect(abs(deadlines[0] - row.createdAt - CompletionDeadline.floorS * 1000) < 60_000)
        }
    }

    @Test func `a step that tells again and again that nothing moves is stalled`() async throws {
        try await withGround { ground in
            let id = try await ground.submit(options: MigrationOptions(stallTimeoutS: 1), maxAttempts: 1).id
            var script = Script(target: ground.target.id)
            script.copy = { context in
                while true {
                    try await context.report(Progress(diskTotal: 9, diskDone: 4))
                    try await context.clock.sleep(for: .milliseconds(50))
                }
            }
            let row = try await ground.runToEnd(script.plan(Recorder()), id)
            #expect(row.reason?.code == .stalled && row.reason?.message.contains("from host1 to host2 for 1 s") == true)
        }
    }

    @Test func `what moves, whatever it is, is not stalled, and silence counts little`() {
        var watch = StallWatch()
        func saw(_ done: Int64, activity: Int64 = 0, at second: Int) -> Duration {
            watch.saw(Progress(diskDone: done), activity: activity, at: .seconds(second))
        }
        #expect(saw(1, at: 0) == .zero)
        #expect(saw(1, at: 2) == .seconds(2))
        #expect(saw(1, at: 4) == .seconds(4))
        #expect(saw(1, at: 64) == .seconds(7), "an agent was silent for a minute")
        #expect(saw(2, at: 66) == .zero)
        #expect(saw(2, activity: 1, at: 68) == .zero)
        #expect(saw(2, activity: 1, at: 69) == .seconds(1))
    }

    // MARK: parameters

    @Test func `a step sees what somebody sets meanwhile`() async throws {
        try await withGround { ground in
            let id = try await ground.submit().id
            var script = Script(target: ground.target.id)
            script.copy = { context in
                #expect(await context.options().maxBandwidthMB == nil)
                _ = try await ground.store.setParameters(of: id, MigrationParameters(maxBandwidthMB: 9), actor: "ada")
                try await eventually("the step sees it") { await context.options().maxBandwidthMB == 9 }
                return StepResult(event: .disksSynced)
            }
            #expect(try await ground.runToEnd(script.plan(Recorder()), id).options.maxBandwidthMB == 9)
        }
    }
}
