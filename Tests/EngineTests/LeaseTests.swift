import AgentFakes
import Fleet
import Staging
import Store
import Synchronization
import Testing

@testable import Engine

@Suite struct LeaseTests {
    /// A step that hangs until it is cancelled, and says when.
    private static func hanging(_ begun: Latch, _ cancelled: Latch) -> @Sendable (StepContext) async throws -> StepResult {
        { _ in
            begun.set()
            defer { cancelled.set() }
            try await hangUntilCancelled()
            return StepResult()
        }
    }

    @Test func `stops at once when somebody newer has claimed`() async throws {
        try await withGround { ground in
            let id = try await ground.submit().id
            let (begun, cancelled) = (Latch(), Latch())
            var script = Script(target: ground.target.id)
            script.copy = Self.hanging(begun, cancelled)
            let clock = ManualClock()
            let plan = script.plan(Recorder())
            async let ending = ground.runOnce(plan, clock: clock)
            await begun.wait()
            try await ground.expireLeases()
            let claimed = try await ground.store.claimMigrations(worker: "w2", leaseMS: 60_000, limit: 1)
            try await clock.renewal()
            #expect(claimed.map(\.id) == [id])
            #expect(try await ending == .lost)
            #expect(cancelled.isSet)
            let row = try await ground.store.migration(id.value)
            #expect(row.epoch == claimed.first?.epoch && row.state == .syncingDisk && row.direction == .forward)
        }
    }

    @Test func `stops before its lease ends when the store does not answer any more`() async throws {
        try await withGround { ground in
            _ = try await ground.submit()
            let (begun, cancelled) = (Latch(), Latch())
            var script = Script(target: ground.target.id)
            script.copy = Self.hanging(begun, cancelled)
            ground.database.onWrite { _, moment in
                // From the step on nothing answers.
                if begun.isSet, moment == .before { try await hangUntilCancelled() }
            }
            let clock = ManualClock()
            var settings = EngineSettings.quick
            settings.leaseMS = 3000
            let plan = script.plan(Recorder())
            async let ending = ground.runOnce(plan, settings: settings, clock: clock)
            await begun.wait()
            // A renewal is on its way, and is not answered.
            clock.advance(to: .milliseconds(1100))
            clock.advance(to: .milliseconds(2600))
            #expect(!cancelled.isSet)
            clock.advance(to: .milliseconds(2700))
            #expect(try await ending == .lost, "the work must end a tenth before the lease does")
            #expect(cancelled.isSet)
            ground.database.onWrite(nil)
        }
    }

    @Test func `renews as long as it works`() async throws {
        try await withGround { ground in
            let id = try await ground.submit().id
            let (begun, end) = (Latch(), Latch())
            var script = Script(target: ground.target.id)
            script.copy = { _ in
                begun.set()
                await end.wait()
                return StepResult(event: .disksSynced)
            }
            let clock = ManualClock()
            let plan = script.plan(Recorder())
            async let ending = ground.runOnce(plan, clock: clock)
            await begun.wait()
            ground.database.onWrite(nil)
            // Twice as long as the lease.
            for renewals in 1...6 {
                try await clock.renewal()
                try await eventually("it was renewed") { ground.database.writes == renewals }
            }
            end.set()
            #expect(try await ending == .finished)
            #expect(try await ground.store.migration(id.value).state == .ready)
        }
    }

    @Test func `a worker that hung writes nothing when it wakes`() async throws {
        try await withGround { ground in
            let id = try await ground.submit().id
            let (begun, awake) = (Latch(), Latch())
            let isFirst = Mutex(true)
            var script = Script(target: ground.target.id)
            script.copy = { _ in
                if isFirst.withLock({ first in
                    defer { first = false }
                    return first
                }) {
                    begun.set()
                    // Deaf to cancellation, as a stopped process is.
                    await Task { await awake.wait() }.value
                }
                return StepResult(event: .disksSynced)
            }
            let plan = script.plan(Recorder())
            async let zombie = ground.runOnce(plan, worker: "w1")
            await begun.wait()
            try await ground.expireLeases()
            #expect(try await ground.runOnce(plan, worker: "w2") == .finished)
            let before = try await ground.store.history(of: id)
            awake.set()
            #expect(try await zombie == .lost)
            #expect(try await ground.store.history(of: id) == before)
            #expect(before.last?.actor == "w2" && before.last?.to == .ready)
        }
    }

    @Test func `told to stop it gives its lease back, and the next goes on at once`() async throws {
        try await withGround { ground in
            let id = try await ground.submit().id
            let (begun, cancelled, stop) = (Latch(), Latch(), Latch())
            let recorder = Recorder()
            var script = Script(target: ground.target.id)
            script.memory = Self.hanging(begun, cancelled)
            let hanging = script.plan(recorder)
            async let ending = ground.runOnce(hanging, until: stop)
            await begun.wait()
            stop.set()
            #expect(try await ending == .stopped)
            #expect(cancelled.isSet)
            script.memory = { _ in StepResult(event: .sourceStopped) }
            // Nobody's lease had to run out.
            #expect(try await ground.runOnce(script.plan(recorder), worker: "w2") == .finished)
            #expect(try await ground.store.migration(id.value).state == .ready)
            #expect(recorder.calls == ["place", "prepare", "copy", "memory", "memory", "switch", "commit"])
        }
    }
}
