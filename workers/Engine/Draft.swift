import Fleet
import Store

/// One write to a migration in the making: what the machine asks for, the journal, and the history row, to be committed together.
struct Draft {
    private(set) var change: MigrationChange
    /// The whole journal as it will be.
    private(set) var journal: [JournalEntry]
    private let before: Migration
    private let plan: Plan
    private let worker: String
    private let deadlineMS: Int64?

    /// - Parameter deadlineMS: how long the attempt may take once it is placed. To wait for a place takes nothing of it.
    init(_ migration: Migration, _ journal: [JournalEntry], plan: Plan, worker: String, deadlineMS: Int64?) {
        before = migration
        change = MigrationChange(migration)
        // Whatever it waited for, it goes on.
        change.migration.awaiting = nil
        self.journal = journal
        self.plan = plan
        self.worker = worker
        self.deadlineMS = deadlineMS
    }

    var migration: Migration { change.migration }

    /// What to do after this is committed.
    var next: Decision { Decision.next(change.migration, journal, plan) }

    mutating func enter(_ entry: JournalEntry) {
        if let index = journal.firstIndex(where: { $0.attempt == entry.attempt && $0.step == entry.step }) {
            journal[index] = entry
        } else {
            journal.append(entry)
        }
        if let index = change.journal.firstIndex(where: { $0.attempt == entry.attempt && $0.step == entry.step }) {
            change.journal[index] = entry
        } else {
            change.journal.append(entry)
        }
    }

    /// Sets the status of a step of this attempt; its output stays unless another is given.
    mutating func mark(_ position: Int, _ status: JournalEntry.Status, output: String? = nil) {
        let name = plan.steps[position].name
        let known = journal.first { $0.attempt == migration.attempt && $0.step == name }
        enter(
            JournalEntry(
                attempt: migration.attempt, step: name, position: position, status: status, output: output ?? known?.output))
    }

    /// Writes the next step's row along, which saves a commit.
    mutating func beginNext() {
        if case .begin(let position) = next { mark(position, .started) }
    }

    /// Says that it waits, and for what: in the history where that is something new.
    mutating func await(_ awaiting: Awaiting, step: String) {
        change.migration.awaiting = awaiting.what
        guard before.awaiting != awaiting.what else { return }
        change.history = MigrationChange.HistoryNote(
            from: before.state, actor: worker, step: step,
            reason: awaiting.reason.map { Reason($0.code, "awaiting \(awaiting.what) (\($0.message))") }
                ?? Reason("awaiting", "awaiting \(awaiting.what)"))
    }

    /// Gives the lease back, to be claimed again after a delay: by the store's clock, the row's own time is for the eye until it is read again.
    mutating func release(for delay: Duration) {
        change.dueInMS = delay.inMilliseconds
        change.migration.dueAt = .now + delay
        change.releaseLease = true
    }

    /// A history row without a change of state.
    mutating func note(_ event: PolicyEvent, step: String?) {
        change.notes.append(
            MigrationChange.HistoryNote(
                from: change.migration.state, actor: worker, step: step, reason: event.reason, numbers: event.numbers))
    }

    /// Turns the machine and carries its actions over into the change.
    ///
    /// - Parameter retryDelay: how long to wait after so many attempts.
    /// - Throws: ``MigrationMachine/InvalidTransition``, ``MissingReservation``.
    mutating func apply(
        _ event: MigrationMachine.Event, step: String? = nil, result: StepResult? = nil, numbers: [String: Int64] = [:],
        at now: Timestamp, retryDelay: (Int) -> Duration
    ) throws {
        var machine = change.migration.machine
        let fault = machine.fault
        let actions = try machine.apply(event)
        change.migration.follow(machine)
        if case .placed = event, before.deadlineAt == nil { change.deadlineInMS = deadlineMS }
        if case .claimed = event { change.serverStatus = plan.statusWhileMoving }
        if case .targetFoundOwning = event { reopen() }
        for action in actions {
            try carryOut(action, fault: machine.fault ?? fault, result: result, at: now, retryDelay: retryDelay)
        }
        if actions.contains(.record) {
            change.history = MigrationChange.HistoryNote(
                from: before.state, actor: worker, step: step, reason: reason(of: event, fault), numbers: numbers)
        }
        if case .targetOwns = event, before.cancelRequested, !journal.contains(plan.targetOwnsMark(attempt: before.attempt)) {
            note(PolicyEvent(.tooLate, "The cancellation came too late: the target owned the server already."), step: step)
        }
        if change.migration.state.isFinished {
            change.migration.finishedAt = now
            change.releaseLease = true
        }
    }

    private mutating func carryOut(
        _ action: MigrationMachine.Action, fault: Fault?, result: StepResult?, at now: Timestamp, retryDelay: (Int) -> Duration
    ) throws {
        switch action {
        case .record, .rollBack: break
        case .reserve:
            guard let reservation = result?.reservation else { throw MissingReservation() }
            change.reserve = reservation
            change.migration.target = reservation.host
        case .release:
            change.release = true
            // The row tells of a target only while there is one, or after the server moved to it.
            if change.migration.state != .ready { change.migration.target = nil }
        case .commitPlacement:
            change.placement = change.migration.target
            change.description = result?.description
            change.serverStatus = plan.statusWhenReady(change.migration)
        case .cleanUpSource:
            change.cleanups.append(
                Cleanup(
                    id: "\(before.id)-\(before.attempt)-source", kind: .source, migration: before.id, server: before.server,
                    host: before.source, attempt: before.attempt, epoch: before.epoch, dueAt: now))
        case .scheduleRetry(let attemptsMade):
            release(for: retryDelay(attemptsMade))
            change.migration.progress = nil
        case .excludeTarget:
            if let target = before.target, let fault { change.migration.excluded[target] = fault.reason }
        case .restoreServerStatus:
            guard let fault else { return }
            let (status, note) = plan.statusAfterFailure(fault)
            change.serverStatus = plan.restoresStatus ? before.statusBefore ?? status : status
            change.serverNote = note
        }
    }

    /// What was undone on the way back has to be done again.
    private mutating func reopen() {
        for entry in journal where entry.attempt == migration.attempt && entry.status == .compensated {
            var reopened = entry
            reopened.status = .started
            enter(reopened)
        }
    }

    /// Why the row is written, where it is for a reason.
    private func reason(of event: MigrationMachine.Event, _ fault: Fault?) -> Reason? {
        switch event {
        case .failed(let fault): fault.reason
        case .cancelled: change.migration.reason
        case .rolledBack: fault?.reason
        case .targetFoundOwning: Reason(.tooLate, "The target owns the server already: there is no way back, the migration goes on.")
        case .claimed, .placed, .disksSynced, .sourceStopped, .targetOwns: nil
        }
    }

    /// A step said that it placed, and did not say what to reserve.
    struct MissingReservation: Error {}

    /// Adds cleanups that stand for a compensation.
    mutating func leave(_ cleanups: [Cleanup]) {
        change.cleanups += cleanups
    }

    /// Takes over what a step found out about the whole.
    mutating func take(_ result: StepResult) {
        if let progress = result.progress { change.migration.progress = progress }
        if let blackout = result.blackout { change.migration.blackout = blackout }
    }
}
