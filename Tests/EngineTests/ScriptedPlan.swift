import AgentAPI
import AgentFakes
import Fleet
import Logging
import Staging
import Store
import Synchronization

@testable import Engine

/// What steps did, and whether two ever did the same at the same time.
final class Recorder: Sendable {
    private struct State {
        var calls: [String] = []
        var inside: Set<String> = []
        var overlaps: [String] = []
        var effects: Set<String> = []
        var points = 0
    }

    private let state = Mutex(State())
    private let onPoint = Mutex<(@Sendable (Int) async -> Void)?>(nil)

    var calls: [String] { state.withLock { $0.calls } }
    var overlaps: [String] { state.withLock { $0.overlaps } }
    /// What stands in the world, such as a prepared target.
    var effects: Set<String> { state.withLock { $0.effects } }
    var points: Int { state.withLock { $0.points } }

    func set(_ effect: String, _ stands: Bool) {
        state.withLock { state in
            if stands { state.effects.insert(effect) } else { state.effects.remove(effect) }
        }
    }

    /// Runs the body as the one who does this step of this migration.
    func alone<T>(_ call: String, _ migration: Migration, _ body: () async throws -> T) async rethrows -> T {
        let key = "\(migration.id) \(call)"
        state.withLock { state in
            state.calls.append(call)
            if !state.inside.insert(key).inserted { state.overlaps.append(key) }
        }
        defer { state.withLock { _ = $0.inside.remove(key) } }
        return try await body()
    }

    /// A place where a worker may die.
    func point() async throws {
        let number = state.withLock { state in
            state.points += 1
            return state.points
        }
        await onPoint.withLock { $0 }?(number)
        try Task.checkCancellation()
    }

    func atPoint(_ body: (@Sendable (Int) async -> Void)?) { onPoint.withLock { $0 = body } }
}

/// A step that leaves a mark in the world and says what the test has it say.
struct ScriptedStep: Step {
    let name: String
    let states: Set<MigrationState>
    var isPointOfNoReturn = false
    let recorder: Recorder
    var performing: @Sendable (StepContext) async throws -> StepResult
    var compensating: @Sendable (StepContext) async throws -> Compensation = { _ in .done }

    func perform(_ context: StepContext) async throws -> StepResult {
        try await recorder.alone(name, context.migration) {
            try await recorder.point()
            recorder.set(name, true)
            try await recorder.point()
            return try await performing(context)
        }
    }

    func compensate(_ context: StepContext) async throws -> Compensation {
        try await recorder.alone("undo \(name)", context.migration) {
            try await recorder.point()
            let compensation = try await compensating(context)
            if compensation == .done { recorder.set(name, false) }
            try await recorder.point()
            return compensation
        }
    }
}

/// A plan with the shape of a live migration's, whose steps a test can replace.
struct Script: Sendable {
    var place: @Sendable (StepContext) async throws -> StepResult
    var prepare: @Sendable (StepContext) async throws -> StepResult = { _ in try StepResult(output: ["port": 7]) }
    var copy: @Sendable (StepContext) async throws -> StepResult = { _ in StepResult(event: .disksSynced) }
    var memory: @Sendable (StepContext) async throws -> StepResult = { _ in StepResult(event: .sourceStopped) }
    var handOver: @Sendable (StepContext) async throws -> StepResult = { _ in StepResult() }
    var undoPrepare: @Sendable (StepContext) async throws -> Compensation = { _ in .done }
    var undoMemory: @Sendable (StepContext) async throws -> Compensation = { _ in .done }
    var undoHandOver: @Sendable (StepContext) async throws -> Compensation = { _ in .done }

    init(target: HostID) {
        place = { context in
            var result = StepResult(event: .placed(hasLocalDisks: true))
            result.reservation = Reservation(
                migration: context.migration.id, host: target, vcpus: 1, memoryBytes: 1 << 20, storageBytes: ["local": 1 << 20])
            return result
        }
    }

    static let names = ["place", "prepare", "copy", "memory", "switch", "commit"]

    func plan(_ recorder: Recorder) -> Plan {
        Plan(
            mode: .live,
            steps: [
                ScriptedStep(name: "place", states: [.scheduling], recorder: recorder, performing: place),
                ScriptedStep(
                    name: "prepare", states: [.syncingDisk, .syncingMemory], recorder: recorder, performing: prepare,
                    compensating: undoPrepare),
                ScriptedStep(name: "copy", states: [.syncingDisk], recorder: recorder, performing: copy),
                ScriptedStep(name: "memory", states: [.syncingMemory], recorder: recorder, performing: memory, compensating: undoMemory),
                ScriptedStep(
                    name: "switch", states: [.switching], isPointOfNoReturn: true, recorder: recorder, performing: handOver,
                    compensating: undoHandOver),
                ScriptedStep(name: "commit", states: [.switching], recorder: recorder) { _ in StepResult(event: .targetOwns) },
            ],
            statusWhileMoving: .liveMigrating, statusWhenReady: { _ in .running },
            statusAfterFailure: { $0.reason.code == .guestStopped ? (.ready, $0.reason) : (.running, nil) })
    }
}

extension Ground {
    /// Claims what is due and runs it once; nil when nothing is due.
    func runOnce(
        _ plan: Plan, worker: String = "w1", settings: EngineSettings = .quick, clock: any EngineClock = SystemClock(),
        until stop: Latch = Latch()
    ) async throws -> MigrationRun.Ending? {
        let asked = clock.now()
        guard let claimed = try await store.claimMigrations(worker: worker, leaseMS: settings.leaseMS, limit: 1).first else { return nil }
        let desk = ProgressDesk(store: store, clock: clock, log: .silent)
        let run = MigrationRun(
            claimed, claimAsked: asked, store: store, desk: desk, plan: plan, worker: worker, settings: settings, clock: clock,
            log: .silent)
        return await withTaskGroup(of: MigrationRun.Ending?.self) { group in
            group.addTask {
                await desk.run()
                return nil
            }
            let ending = await run.run(until: stop)
            group.cancelAll()
            return ending
        }
    }

    /// Runs it to its end, attempt after attempt.
    func runToEnd(_ plan: Plan, _ migration: MigrationID, settings: EngineSettings = .quick) async throws -> Migration {
        for _ in 0..<20 {
            try await makeDue()
            _ = try await runOnce(plan, settings: settings)
            let row = try await store.migration(migration.value)
            if row.state.isFinished { return row }
        }
        throw TooLate("migration \(migration) ended")
    }
}

/// A clock that stands still until a test moves it.
final class ManualClock: EngineClock {
    private struct State {
        var now = Duration.zero
        var next = 0
        var sleepers: [Int: (end: Duration, continuation: CheckedContinuation<Void, Never>)] = [:]
    }

    private let state = Mutex(State())

    func now() -> Duration { state.withLock { $0.now } }

    /// How many sleep: a run that only works has its heartbeat, its watch over the lease, and its look at what others ask.
    var sleepers: Int { state.withLock { $0.sleepers.count } }

    /// Moves on by a third of the usual lease, once heartbeat and watch sleep, so that the lease is renewed.
    func renewal() async throws {
        try await eventually("heartbeat and watches sleep") { sleepers >= 3 }
        advance(to: now() + .milliseconds(3400))
    }

    func advance(to time: Duration) {
        let due = state.withLock { state in
            state.now = max(state.now, time)
            let due = state.sleepers.filter { $0.value.end <= state.now }
            for key in due.keys { state.sleepers[key] = nil }
            return due.values.map(\.continuation)
        }
        for sleeper in due { sleeper.resume() }
    }

    func sleep(for duration: Duration) async throws {
        let number = state.withLock { state in
            state.next += 1
            return state.next
        }
        await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                let isOver = state.withLock { state in
                    if duration <= .zero || Task.isCancelled { return true }
                    state.sleepers[number] = (state.now + duration, continuation)
                    return false
                }
                if isOver { continuation.resume() }
            }
        } onCancel: {
            state.withLock { $0.sleepers.removeValue(forKey: number) }?.continuation.resume()
        }
        try Task.checkCancellation()
    }
}
