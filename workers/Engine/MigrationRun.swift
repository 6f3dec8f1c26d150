import AgentAPI
import Failpoints
import Fleet
import Logging
import Store

/// One claimed migration in the hands of one worker: decides, does, commits, until it is finished, due later, or somebody else's.
actor MigrationRun {
    /// How it went out of this worker's hands.
    enum Ending: Hashable, Sendable {
        case finished
        /// Rolled back or waiting for a place, with its lease given back: another attempt, or another look, is due later.
        case postponed
        /// The lease ended, or somebody newer holds it. Nothing was written since.
        case lost
        /// The worker was told to stop.
        case stopped
        /// The task was cancelled, or a defect of ours came up; the lease will run out.
        case interrupted
    }

    let store: Store
    let plan: Plan
    let worker: String
    let settings: EngineSettings
    let clock: any EngineClock
    private let lease: Lease
    let log: Logger
    let id: MigrationID
    let epoch: Epoch

    var migration: Migration
    var journal: [JournalEntry] = []
    /// When the present state was entered, for the numbers of the history.
    private var stateSince: Timestamp
    var lastProgress: Duration?
    private var isReleased = false
    var stepUnderWay = 0
    /// How long an attempt may take.
    var deadlineMS: Int64?
    var stall = StallWatch()
    private var awaitingTries = 0
    private var storeTries = 0
    private var overbooked = 0

    init(
        _ migration: Migration, claimAsked: Duration, store: Store, plan: Plan, worker: String, settings: EngineSettings,
        clock: any EngineClock, log: Logger
    ) {
        self.migration = migration
        self.store = store
        self.plan = plan
        self.worker = worker
        self.settings = settings
        self.clock = clock
        self.lease = Lease(asked: claimAsked, length: settings.lease)
        self.stateSince = migration.createdAt
        self.id = migration.id
        self.epoch = migration.epoch
        var log = log
        log[metadataKey: "migration"] = "\(migration.id)"
        log[metadataKey: "epoch"] = "\(migration.epoch)"
        self.log = log
    }

    /// Works until it is out of this worker's hands. A cancellation of the task is a crash: everything is left as it is.
    func run(until stop: Latch) async -> Ending {
        let ending = await withTaskGroup(of: Ending?.self) { group in
            group.addTask { await self.work() }
            group.addTask { await self.heartbeat() }
            group.addTask { await self.watchLease() }
            group.addTask { await self.watchControl() }
            group.addTask {
                await stop.wait()
                return Task.isCancelled ? nil : .stopped
            }
            let first = await group.next() ?? nil
            group.cancelAll()
            var ending = first ?? .interrupted
            for await other in group {
                // What was done in the meantime is done.
                if other == .finished || other == .postponed, let other { ending = other }
            }
            return Task.isCancelled && ending != .finished && ending != .postponed ? .interrupted : ending
        }
        if ending == .stopped { await giveBack() }
        log.debug("out of hands", metadata: ["ending": "\(ending)"])
        return ending
    }

    // MARK: lease

    private nonisolated func heartbeat() async -> Ending? {
        var tries = 0
        while !Task.isCancelled {
            do {
                try await clock.sleep(for: tries == 0 ? lease.length / 3 : settings.reconnect.delay(after: tries))
                let asked = clock.now()
                let row = try await store.renewLease(id, epoch: epoch, worker: worker, leaseMS: settings.leaseMS)
                lease.renewed(asked: asked)
                tries = 0
                if row.cancelRequested { lease.cancelRequested.set() }
            } catch is CancellationError {
                return nil
            } catch let error as StoreError where error.code == .superseded {
                return .lost
            } catch {
                tries += 1
                log.warning("the lease could not be renewed", metadata: ["error": "\(error)", "tries": "\(tries)"])
            }
        }
        return nil
    }

    /// Ends everything in time when renewals fail or hang.
    private nonisolated func watchLease() async -> Ending? {
        while true {
            let left = lease.deadline - clock.now()
            if left <= .zero { return .lost }
            do { try await clock.sleep(for: left) } catch { return nil }
        }
    }

    /// Sees what others ask of the migration. That the store does not answer is the heartbeat's to tell.
    private nonisolated func watchControl() async -> Ending? {
        while !Task.isCancelled {
            do {
                try await clock.sleep(for: settings.control)
                if let control = try await store.control(of: id, epoch: epoch) { await take(control) }
            } catch {
                continue
            }
        }
        return nil
    }

    private func take(_ control: MigrationControl) {
        migration.options = control.options
        if control.isCancelRequested { lease.cancelRequested.set() }
        if let left = control.deadlineInMS, left <= 0 { lease.deadlinePassed.set() }
    }

    /// So that whoever comes next need not wait for the lease to run out. What runs in QEMU goes on.
    private func giveBack() async {
        do {
            // Not the row in memory: the one in the store is the truth.
            let row = try await store.migration(id.value)
            guard row.epoch == epoch, !row.state.isFinished else { return }
            var change = MigrationChange(row)
            change.releaseLease = true
            try await store.apply(change, worker: worker)
        } catch {
            log.info("the lease is left to run out", metadata: ["error": "\(error)"])
        }
    }

    // MARK: work

    private func work() async -> Ending? {
        do {
            try await load()
            while true {
                try Task.checkCancellation()
                switch Decision.next(migration, journal, plan) {
                case .finished: return .finished
                case .apply(let event): try await turn(event)
                case .begin(let position):
                    var draft = draft()
                    draft.mark(position, .started)
                    try await commit(draft)
                case .perform(let position): try await perform(position)
                case .compensate(let position): try await compensate(position)
                case .defect(let text): try await meetDefect(text)
                }
                if isReleased { return migration.state.isFinished ? .finished : .postponed }
            }
        } catch is Superseded {
            return .lost
        } catch is CancellationError {
            return nil
        } catch {
            log.error("the migration is left until its lease ends", metadata: ["error": "\(error)"])
            return .interrupted
        }
    }

    private func load() async throws {
        var tries = 0
        while true {
            do {
                journal = try await store.journal(of: id)
                if migration.state != .pending {
                    let entered = try await store.history(of: id).last { $0.from != $0.to }
                    stateSince = entered?.at ?? migration.createdAt
                }
                let description = try await store.server(migration.server.value).description
                let bytes = CompletionDeadline.bytes(of: description, mode: migration.mode)
                deadlineMS = CompletionDeadline.seconds(for: migration.options, bytes: bytes) * 1000
                return
            } catch let error as StoreError where error.code == .unavailable {
                tries += 1
                try await clock.sleep(for: settings.reconnect.delay(after: tries))
            }
        }
    }

    func draft() -> Draft { Draft(migration, journal, plan: plan, worker: worker, deadlineMS: deadlineMS) }

    private func turn(_ event: MigrationMachine.Event, step: String? = nil) async throws {
        var draft = draft()
        try draft.apply(event, step: step, numbers: timeInState(), at: .now, retryDelay: retryDelay)
        draft.beginNext()
        try await commit(draft)
    }

    private func perform(_ position: Int) async throws {
        let step = plan.steps[position]
        stepUnderWay = position
        stall = StallWatch()
        let context = context(for: step)
        do {
            try await reach(step, .begun)
            let result = try await interruptible(isRevocable, hasDeadline: hasDeadline) { try await step.perform(context) }
            try await reach(step, .performed)
            try await finish(position, result)
        } catch {
            try Task.checkCancellation()
            return try await meet(error, at: position)
        }
        try await reach(step, .committed)
    }

    private func reach(_ step: any Step, _ boundary: Failpoint.Boundary) async throws {
        try await Failpoints.reach(.step(migration.mode.rawValue, step.name, boundary))
    }

    private func finish(_ position: Int, _ result: StepResult) async throws {
        var draft = draft()
        draft.mark(position, .done, output: result.output)
        draft.take(result)
        if let event = result.event {
            let numbers = result.numbers.merging(timeInState()) { told, _ in told }
            try draft.apply(
                event, step: plan.steps[position].name, result: result, numbers: numbers, at: .now, retryDelay: retryDelay)
        }
        draft.beginNext()
        try await commit(draft)
        storeTries = 0
    }

    /// What to do about a step that did not end well.
    private func meet(_ error: any Error, at position: Int) async throws {
        let step = plan.steps[position].name
        switch error {
        case Interruption.cancelled: migration.cancelRequested = true
        case Interruption.deadline: try await fail(await timedOut(), step: step)
        case is Superseded: throw error
        case let error as StoreError where error.code == .superseded: throw Superseded()
        case let error as StoreError where error.code == .unavailable: try await waitForStore(error)
        case let error as StoreError where error.code == .overbooked: try await meetOverbooked(error, step)
        case let awaiting as Awaiting: try await wait(awaiting, step: step, isInterruptible: true)
        case let fault as Fault: try await fail(fault, step: step)
        case let problem as AgentProblem: try await fail(Fault(problem.reason, remedy: .sameTarget), step: step)
        case let error as MigrationMachine.InvalidTransition:
            try await fail(Fault(.agentError, "Step \(step) ended with an event out of turn: \(error).", remedy: .none), step: step)
        default: try await fail(Fault(.agentError, "Step \(step) failed: \(error)", remedy: .sameTarget), step: step)
        }
    }

    /// Turns back, or where there is no way back waits and tries again.
    private func fail(_ fault: Fault, step: String) async throws {
        log.notice("step failed", metadata: ["step": "\(step)", "reason": "\(fault.reason)"])
        guard isRevocable else {
            return try await wait(
                Awaiting("step \(step) to succeed: the target owns the server, there is no way back", reason: fault.reason),
                step: step, isInterruptible: false)
        }
        try await turn(.failed(fault), step: step)
    }

    /// Somebody else took the room between the look and the reservation: look again.
    private func meetOverbooked(_ error: StoreError, _ step: String) async throws {
        overbooked += 1
        guard overbooked > settings.overbookedAtMost else { return }
        overbooked = 0
        try await fail(
            Fault(.noHost, "Other migrations took the room on each host that was chosen: \(error.message)", remedy: .sameTarget), step: step
        )
    }

    private func meetDefect(_ text: String) async throws {
        log.error("row, journal and plan contradict each other", metadata: ["defect": "\(text)"])
        if migration.direction == .forward, isRevocable {
            try await turn(.failed(Fault(.agentError, "The migration cannot go on: \(text).", remedy: .none)))
        } else {
            try await wait(Awaiting("a person: \(text)"), step: plan.steps[stepUnderWay].name, isInterruptible: false)
        }
    }

    private func compensate(_ position: Int) async throws {
        let step = plan.steps[position]
        stepUnderWay = position
        do {
            try await reach(step, .undoing)
            let compensation = try await step.compensate(context(for: step))
            try await reach(step, .undone)
            var draft = draft()
            switch compensation {
            case .done: draft.mark(position, .compensated)
            case .deferred(let cleanups):
                draft.mark(position, .deferred)
                draft.leave(cleanups)
            case .targetOwns:
                draft.enter(plan.targetOwnsMark(attempt: migration.attempt))
                try draft.apply(
                    .targetFoundOwning, step: step.name, numbers: timeInState(), at: .now, retryDelay: retryDelay)
                draft.beginNext()
            }
            if case .apply(.rolledBack) = draft.next {
                try draft.apply(.rolledBack, step: step.name, numbers: timeInState(), at: .now, retryDelay: retryDelay)
            }
            try await commit(draft)
            storeTries = 0
        } catch {
            try Task.checkCancellation()
            switch error {
            case is Superseded: throw error
            case let error as StoreError where error.code == .superseded: throw Superseded()
            case let error as StoreError where error.code == .unavailable: try await waitForStore(error)
            case let awaiting as Awaiting: try await wait(awaiting, step: step.name, isInterruptible: false)
            default:
                // A compensation must not be skipped, so that any other error is waited out in sight of everybody.
                let reason = (error as? AgentProblem)?.reason ?? Reason(.agentError, "\(error)")
                try await wait(Awaiting("step \(step.name) to be undone", reason: reason), step: step.name, isInterruptible: false)
            }
        }
    }

    // MARK: waiting

    private enum Interruption: Error {
        case cancelled
        case deadline
    }

    private var isRevocable: Bool { !plan.isBeyondReturn(migration, journal) }

    /// From its placing on an attempt is timed. Once the switchover is decided it is seen through, however long it takes.
    var hasDeadline: Bool {
        migration.direction == .forward && migration.state.rank > MigrationState.scheduling.rank && isRevocable
            && !plan.steps[stepUnderWay].isPointOfNoReturn
    }

    /// Runs the body, and stops it when somebody asks for the migration to end, or it has taken too long.
    private nonisolated func interruptible<T: Sendable>(
        _ isInterruptible: Bool, hasDeadline: Bool, _ body: @escaping @Sendable () async throws -> T
    ) async throws -> T {
        guard isInterruptible else { return try await body() }
        return try await withThrowingTaskGroup(of: T.self) { group in
            group.addTask { try await body() }
            group.addTask {
                await self.lease.cancelRequested.wait()
                try Task.checkCancellation()
                throw Interruption.cancelled
            }
            if hasDeadline {
                group.addTask {
                    await self.lease.deadlinePassed.wait()
                    try Task.checkCancellation()
                    throw Interruption.deadline
                }
            }
            defer { group.cancelAll() }
            guard let result = try await group.next() else { throw CancellationError() }
            return result
        }
    }

    private func wait(_ awaiting: Awaiting, step: String, isInterruptible: Bool) async throws {
        if awaiting.holdsNothing, migration.direction == .forward, isRevocable {
            var draft = draft()
            draft.await(awaiting, step: step)
            // The longer it has waited the less often it is looked at.
            let waited = Duration.milliseconds(max(0, Timestamp.now - migration.createdAt))
            draft.release(for: min(settings.awaiting.cap, max(settings.awaiting.delay(after: 1), waited / 8)))
            return try await commit(draft)
        }
        if migration.awaiting != awaiting.what {
            log.notice(
                "awaiting", metadata: ["step": "\(step)", "what": "\(awaiting.what)", "reason": "\(awaiting.reason?.message ?? "")"])
            var draft = draft()
            draft.await(awaiting, step: step)
            try await commit(draft)
        }
        awaitingTries += 1
        let delay = settings.awaiting.delay(after: awaitingTries)
        // On the way back a cancellation has a meaning as long as there would be another try.
        let mayStop = migration.direction == .forward ? isInterruptible && isRevocable : migration.remedy != Fault.Remedy.none
        do {
            try await interruptible(mayStop, hasDeadline: hasDeadline) { [clock] in try await clock.sleep(for: delay) }
        } catch Interruption.cancelled {
            migration.cancelRequested = true
        } catch Interruption.deadline {
            // What it waited for is tried once more, and that is stopped at once.
        }
    }

    private func waitForStore(_ error: StoreError) async throws {
        storeTries += 1
        log.warning("the store does not answer", metadata: ["error": "\(error)"])
        try await clock.sleep(for: settings.reconnect.delay(after: storeTries))
    }

    // MARK: writing

    /// Writes a draft, and again until it is known to be written. Ends when the lease does.
    func commit(_ draft: Draft) async throws {
        let change = draft.change
        let before = migration
        var tries = 0
        while true {
            do {
                // To its end, also when this task is cancelled meanwhile: a commit that nobody saw the outcome of would leave the row in
                // memory behind the one in the store.
                migration = try await Task { [store, worker] in try await store.apply(change, worker: worker) }.value
                break
            } catch let error as StoreError where error.code == .superseded {
                throw Superseded()
            } catch let error as StoreError where error.code == .unavailable {
                tries += 1
                log.warning("a change could not be written", metadata: ["error": "\(error)", "tries": "\(tries)"])
                try await clock.sleep(for: settings.reconnect.delay(after: tries))
                if let row = try await committed(draft) {
                    migration = row
                    break
                }
            }
        }
        journal = draft.journal
        isReleased = change.releaseLease
        if migration.state != before.state { stateSince = .now }
        if change.migration.awaiting == nil { awaitingTries = 0 }
        log.debug(
            "committed",
            metadata: [
                "state": "\(migration.state.rawValue)", "direction": "\(migration.direction.rawValue)", "attempt": "\(migration.attempt)",
            ])
    }

    /// Whether a write whose answer was lost took place after all.
    private func committed(_ draft: Draft) async throws -> Migration? {
        do {
            let row = try await store.migration(id.value)
            let written = try await store.journal(of: id)
            let wanted = draft.migration
            let isThere =
                row.state == wanted.state && row.direction == wanted.direction && row.attempt == wanted.attempt
                && row.target == wanted.target && row.awaiting == wanted.awaiting
                && draft.change.journal.allSatisfy(written.contains)
            return isThere ? row : nil
        } catch let error as StoreError where error.code == .unavailable {
            return nil
        }
    }

    private func retryDelay(_ attemptsMade: Int) -> Duration { settings.retry.delay(after: attemptsMade) }

    private func timeInState() -> [String: Int64] { ["ms": max(0, Timestamp.now - stateSince)] }
}
