import AgentFakes
import Fleet
import Store
import Synchronization
import Testing

@testable import Engine

@Suite struct RunTests {
    @Test func `walks the plan, and everything moves together`() async throws {
        try await withGround { ground in
            let id = try await ground.submit().id
            let recorder = Recorder()
            let ending = try await ground.runOnce(Script(target: ground.target.id).plan(recorder))
            #expect(ending == .finished)
            #expect(recorder.calls == Script.names)
            let row = try await ground.store.migration(id.value)
            #expect(row.state == .ready && row.target == ground.target.id && row.attempt == 1 && row.reason == nil)
            #expect(
                try await ground.states(of: id) == [.pending, .scheduling, .syncingDisk, .syncingMemory, .switching, .ready])
            let server = try await ground.store.server(row.server.value)
            #expect(server.host == ground.target.id && server.status == .running)
            let cleanups = try await ground.store.cleanups()
            #expect(cleanups.map(\.kind) == [.source] && cleanups.first?.host == ground.source.id)
            #expect(cleanups.first?.epoch == row.epoch)
            let loads = try await ground.store.hostLoads()
            #expect(loads.allSatisfy { $0.inboundMigrations == 0 && $0.storageReservedBytes.values.allSatisfy { $0 == 0 } })
            #expect(try await ground.journal(of: id).values.allSatisfy { $0 == .done })
            #expect(try await ground.store.history(of: id).dropFirst().allSatisfy { $0.actor == "w1" && $0.numbers["ms"] != nil })
        }
    }

    @Test func `a migration costs seven commits and its claim`() async throws {
        try await withGround { ground in
            _ = try await ground.submit()
            ground.database.onWrite { _, _ in }
            _ = try await ground.runOnce(Script(target: ground.target.id).plan(Recorder()))
            // The claim; claimed; placed; prepared; disks synced; source stopped; switched; ready.
            #expect(ground.database.writes == 8)
        }
    }

    @Test func `steps find what earlier ones found out`() async throws {
        try await withGround { ground in
            let id = try await ground.submit().id
            let found = Mutex<[String: Int]?>(nil)
            var script = Script(target: ground.target.id)
            script.memory = { context in
                let output: [String: Int]? = try context.output(of: "prepare")
                found.withLock { $0 = output }
                #expect(context.migration.state == .syncingMemory)
                #expect(context.migration.target != nil)
                return StepResult(event: .sourceStopped)
            }
            _ = try await ground.runToEnd(script.plan(Recorder()), id)
            #expect(found.withLock { $0 } == ["port": 7])
        }
    }

    @Test func `progress reaches the store, and a later write does not take it back`() async throws {
        try await withGround { ground in
            let id = try await ground.submit().id
            var script = Script(target: ground.target.id)
            script.copy = { context in
                try await context.report(Progress(diskTotal: 100, diskDone: 10))
                // Too soon to be written by itself.
                try await context.report(Progress(diskTotal: 100, diskDone: 100))
                return StepResult(event: .disksSynced)
            }
            script.memory = { _ in
                let row = try await ground.store.migration(id.value)
                #expect(row.progress?.diskDone == 100)
                return StepResult(event: .sourceStopped)
            }
            let row = try await ground.runToEnd(script.plan(Recorder()), id)
            #expect(row.progress?.diskDone == 100)
        }
    }

    @Test func `notes stand in the history, each in a row of its own, and in the step's memory`() async throws {
        try await withGround { ground in
            let id = try await ground.submit().id
            var script = Script(target: ground.target.id)
            script.copy = { context in
                let raised = PolicyEvent("adjusted", "limit raised", numbers: ["limitMS": 60])
                try await context.note([raised, PolicyEvent(.throttle, "throttled")], output: ["notes": 1])
                return StepResult(event: .disksSynced)
            }
            _ = try await ground.runToEnd(script.plan(Recorder()), id)
            let history = try await ground.store.history(of: id)
            let note = history.first { $0.reason?.code == "adjusted" }
            #expect(note?.numbers == ["limitMS": 60] && history.contains { $0.reason == Reason(.throttle, "throttled") })
            #expect(note?.from == .syncingDisk && note?.to == .syncingDisk && note?.step == "copy")
            #expect(try await ground.store.journal(of: id).first { $0.step == "copy" }?.output == #"{"notes":1}"#)
        }
    }

    // MARK: going back

    @Test func `a fault walks the journal backwards and the next attempt starts afresh`() async throws {
        try await withGround { ground in
            let id = try await ground.submit().id
            let recorder = Recorder()
            let isFirst = Mutex(true)
            var script = Script(target: ground.target.id)
            script.memory = { _ in
                if isFirst.withLock({ first in
                    defer { first = false }
                    return first
                }) {
                    throw Fault(.stalled, "No byte moved.", remedy: .sameTarget)
                }
                return StepResult(event: .sourceStopped)
            }
            let plan = script.plan(recorder)
            #expect(try await ground.runOnce(plan) == .postponed)
            #expect(
                recorder.calls == [
                    "place", "prepare", "copy", "memory", "undo memory", "undo copy", "undo prepare", "undo place",
                ])
            #expect(recorder.effects.isEmpty)
            var row = try await ground.store.migration(id.value)
            #expect(row.state == .scheduling && row.direction == .forward && row.attempt == 2 && row.target == nil)
            #expect(row.reason?.code == .stalled && row.excluded.isEmpty)
            #expect(try await ground.store.server(row.server.value).status == .liveMigrating)
            #expect(try await ground.store.hostLoads().allSatisfy { $0.inboundMigrations == 0 })
            row = try await ground.runToEnd(plan, id)
            #expect(row.state == .ready && row.attempt == 2 && row.reason == nil)
        }
    }

    @Test func `attempts end, with the last reason and the server as it was`() async throws {
        try await withGround { ground in
            let id = try await ground.submit(maxAttempts: 2).id
            var script = Script(target: ground.target.id)
            script.copy = { _ in throw Fault(.targetLost, "host2 went away.", remedy: .otherTarget) }
            let recorder = Recorder()
            let row = try await ground.runToEnd(script.plan(recorder), id)
            #expect(row.state == .failed && row.reason == Reason(.targetLost, "host2 went away.") && row.attempt == 2)
            #expect(row.excluded[ground.target.id]?.code == .targetLost)
            #expect(try await ground.store.server(row.server.value).status == .running)
            #expect(recorder.calls.count { $0 == "place" } == 2)
            #expect(try await ground.store.server(row.server.value).host == ground.source.id)
        }
    }

    @Test func `a guest that stopped by itself leaves the server off with a note`() async throws {
        try await withGround { ground in
            let id = try await ground.submit().id
            var script = Script(target: ground.target.id)
            script.copy = { _ in throw Fault(.guestStopped, "The guest powered off.", remedy: .none) }
            let row = try await ground.runToEnd(script.plan(Recorder()), id)
            #expect(row.state == .failed && row.attempt == 1)
            let server = try await ground.store.server(row.server.value)
            #expect(server.status == .ready && server.note?.code == .guestStopped)
        }
    }

    @Test func `an error that nobody foresaw is a fault with its text`() async throws {
        struct Odd: Error {}
        try await withGround { ground in
            let id = try await ground.submit(maxAttempts: 1).id
            var script = Script(target: ground.target.id)
            script.copy = { _ in throw Odd() }
            let row = try await ground.runToEnd(script.plan(Recorder()), id)
            #expect(row.state == .failed && row.reason?.code == .agentError)
            #expect(row.reason?.message.contains("copy") == true && row.reason?.message.contains("Odd") == true)
        }
    }

    @Test func `a compensation that must wait for a host becomes a cleanup`() async throws {
        try await withGround { ground in
            let id = try await ground.submit(maxAttempts: 1).id
            var script = Script(target: ground.target.id)
            script.copy = { _ in throw Fault(.targetLost, "host2 went away.", remedy: .otherTarget) }
            script.undoPrepare = { [target = ground.target.id] in .deferred([$0.cleanup(.target, on: target)]) }
            let row = try await ground.runToEnd(script.plan(Recorder()), id)
            #expect(row.state == .failed)
            #expect(try await ground.journal(of: id)["prepare"] == .deferred)
            let cleanup = try #require(try await ground.store.cleanups().first)
            #expect(cleanup.kind == .target && cleanup.host == ground.target.id && cleanup.attempt == 1)
        }
    }

    @Test func `room that another took meanwhile is looked for again`() async throws {
        try await withGround { ground in
            let id = try await ground.submit().id
            let tries = Mutex(0)
            var script = Script(target: ground.target.id)
            let place = script.place
            script.place = { context in
                var result = try await place(context)
                let first = tries.withLock { tries in
                    tries += 1
                    return tries == 1
                }
                if first { result.reservation?.memoryBytes = 1 << 50 }
                return result
            }
            let row = try await ground.runToEnd(script.plan(Recorder()), id)
            #expect(row.state == .ready && row.attempt == 1)
            #expect(tries.withLock { $0 } == 2)
        }
    }

    @Test func `a migration that never gets the room that it chose fails and says so`() async throws {
        try await withGround { ground in
            let id = try await ground.submit(maxAttempts: 1).id
            var script = Script(target: ground.target.id)
            let place = script.place
            script.place = { context in
                var result = try await place(context)
                result.reservation?.memoryBytes = 1 << 50
                return result
            }
            let row = try await ground.runToEnd(script.plan(Recorder()), id)
            #expect(row.state == .failed && row.reason?.code == .noHost)
        }
    }

    // MARK: waiting

    @Test func `what cannot be done now is awaited in sight, and goes on`() async throws {
        try await withGround { ground in
            let id = try await ground.submit().id
            let seen = Mutex<[String?]>([])
            var script = Script(target: ground.target.id)
            script.handOver = { _ in
                let awaiting = try await ground.store.migration(id.value).awaiting
                let count = seen.withLock { seen in
                    seen.append(awaiting)
                    return seen.count
                }
                if count < 4 { throw Awaiting("host2 to answer", reason: Reason("unreachable", "no route")) }
                return StepResult()
            }
            let row = try await ground.runToEnd(script.plan(Recorder()), id)
            #expect(row.state == .ready && row.awaiting == nil)
            #expect(seen.withLock { $0 } == [nil, "host2 to answer", "host2 to answer", "host2 to answer"])
            let waits = try await ground.store.history(of: id).filter { $0.reason?.message.hasPrefix("awaiting") == true }
            #expect(waits.count == 1, "one row for one wait")
            #expect(waits.first?.reason?.message == "awaiting host2 to answer (no route)")
        }
    }

    @Test func `a compensation that would be dangerous to skip is awaited, never skipped`() async throws {
        try await withGround { ground in
            let id = try await ground.submit(maxAttempts: 1).id
            let tries = Mutex(0)
            var script = Script(target: ground.target.id)
            script.handOver = { _ in throw Fault(.switchoverTimeout, "Too slow.", remedy: .sameTarget) }
            script.undoHandOver = { _ in
                let count = tries.withLock { tries in
                    tries += 1
                    return tries
                }
                if count == 1 { throw Awaiting("host2 to refuse") }
                if count == 2 { throw TooLate("something odd") }
                return .done
            }
            let row = try await ground.runToEnd(script.plan(Recorder()), id)
            #expect(row.state == .failed && row.reason?.code == .switchoverTimeout)
            #expect(tries.withLock { $0 } == 3)
        }
    }

    // MARK: cancelling

    @Test(arguments: ["place", "prepare", "copy", "memory", "switch"])
    func `a cancellation stops the step at once and rolls back`(step: String) async throws {
        try await withGround { ground in
            let id = try await ground.submit().id
            let begun = Latch()
            let recorder = Recorder()
            let hang: @Sendable (StepContext) async throws -> StepResult = { _ in
                begun.set()
                try await hangUntilCancelled()
                return StepResult()
            }
            var script = Script(target: ground.target.id)
            switch step {
            case "place": script.place = hang
            case "prepare": script.prepare = hang
            case "copy": script.copy = hang
            case "memory": script.memory = hang
            default: script.handOver = hang
            }
            let clock = ManualClock()
            let plan = script.plan(recorder)
            async let ending = ground.runOnce(plan, clock: clock)
            await begun.wait()
            _ = try await ground.store.requestCancel(id, actor: "ada")
            try await clock.renewal()
            #expect(try await ending == .finished)
            let row = try await ground.store.migration(id.value)
            #expect(row.state == .failed && row.reason?.code == .cancelled)
            #expect(recorder.effects.isEmpty)
            #expect(try await ground.store.server(row.server.value).status == .running)
        }
    }

    @Test func `a cancellation before anybody claimed it ends it without a step`() async throws {
        try await withGround { ground in
            let id = try await ground.submit().id
            _ = try await ground.store.requestCancel(id, actor: "ada")
            let recorder = Recorder()
            let row = try await ground.runToEnd(Script(target: ground.target.id).plan(recorder), id)
            #expect(row.state == .failed && row.reason?.code == .cancelled && recorder.calls.isEmpty)
            #expect(try await ground.store.server(row.server.value).status == .running)
        }
    }

    @Test func `a cancellation that finds the target owning comes too late`() async throws {
        try await withGround { ground in
            let id = try await ground.submit().id
            let begun = Latch()
            let switched = Latch()
            var script = Script(target: ground.target.id)
            script.memory = { _ in
                begun.set()
                try await hangUntilCancelled()
                return StepResult()
            }
            script.undoMemory = { _ in
                switched.set()
                return .targetOwns
            }
            script.handOver = { _ in
                #expect(switched.isSet)
                return StepResult()
            }
            let recorder = Recorder()
            let clock = ManualClock()
            let plan = script.plan(recorder)
            async let ending = ground.runOnce(plan, clock: clock)
            await begun.wait()
            _ = try await ground.store.requestCancel(id, actor: "ada")
            try await clock.renewal()
            #expect(try await ending == .finished)
            let row = try await ground.store.migration(id.value)
            #expect(row.state == .ready && row.reason == nil && row.cancelRequested)
            #expect(!recorder.calls.contains("undo prepare"))
            let history = try await ground.store.history(of: id)
            #expect(history.contains { $0.reason?.code == "too-late" && $0.to == .switching && $0.direction == .forward })
        }
    }

    @Test func `beyond the point of no return a fault is waited out`() async throws {
        try await withGround { ground in
            let id = try await ground.submit().id
            let tries = Mutex(0)
            let recorder = Recorder()
            var plan = Script(target: ground.target.id).plan(recorder)
            var steps = plan.steps
            steps[5] = ScriptedStep(name: "commit", states: [.switching], recorder: recorder) { _ in
                let count = tries.withLock { tries in
                    tries += 1
                    return tries
                }
                if count < 3 { throw Fault(.agentError, "odd", remedy: .none) }
                return StepResult(event: .targetOwns)
            }
            plan = Plan(
                mode: .live, steps: steps, statusWhileMoving: .liveMigrating, statusWhenReady: { _ in .running },
                statusAfterFailure: plan.statusAfterFailure)
            let row = try await ground.runToEnd(plan, id)
            #expect(row.state == .ready && !recorder.calls.contains { $0.hasPrefix("undo") })
        }
    }

    // MARK: store

    @Test func `a store that does not answer is asked again`() async throws {
        try await withGround { ground in
            let id = try await ground.submit().id
            let claimed = Latch()
            var script = Script(target: ground.target.id)
            let failures = Mutex(0)
            script.prepare = { _ in
                claimed.set()
                return try StepResult(output: ["port": 7])
            }
            ground.database.onWrite { number, moment in
                guard claimed.isSet, moment == .before, number % 3 != 0 else { return }
                failures.withLock { $0 += 1 }
                throw StoreError(.unavailable, "gone")
            }
            _ = try await ground.runOnce(script.plan(Recorder()))
            ground.database.onWrite(nil)
            let row = try await ground.store.migration(id.value)
            #expect(row.state == .ready && failures.withLock { $0 } > 3)
        }
    }

    @Test func `a commit whose answer was lost is not done twice`() async throws {
        try await withGround { ground in
            let id = try await ground.submit().id
            ground.database.onWrite { number, moment in
                if moment == .after, number > 1 { throw StoreError(.unavailable, "the connection broke") }
            }
            _ = try await ground.runOnce(Script(target: ground.target.id).plan(Recorder()))
            ground.database.onWrite(nil)
            #expect(try await ground.store.migration(id.value).state == .ready)
            let history = try await ground.store.history(of: id).map(\.to)
            #expect(history == [.pending, .scheduling, .syncingDisk, .syncingMemory, .switching, .ready])
        }
    }
}
