/// The state machine of a migration, as a value: an event goes in, the new state and what to do about it come out. No I/O.
///
/// ```
/// pending ─claimed→ scheduling ─placed→ syncing-disk ─disksSynced→ syncing-memory ─sourceStopped→ switching ─targetOwns→ ready
/// ```
/// Cold goes from `syncing-disk` straight to `switching`; live without local disks from `scheduling` to `syncing-memory`; rescue, and
/// cold without local disks, from `scheduling` to `switching`. From every unfinished state a fault or a cancellation turns the
/// direction to rollback, whose end leads to `scheduling` (another attempt) or `failed`. One thing turns a rollback forward again: the
/// finding that the target durably owns the server already. The two agents switch over without a worker, so a fault or a cancellation
/// can come too late; from then on the source may not be continued, and `switching` is seen through.
package struct MigrationMachine: Hashable, Sendable, Codable {
    package private(set) var mode: Mode
    package private(set) var state: MigrationState
    package private(set) var direction: Direction
    package private(set) var attempt: Int
    package let maxAttempts: Int
    /// What the rollback under way is for, or what the migration failed of.
    package private(set) var fault: Fault?

    package init(mode: Mode, maxAttempts: Int) {
        self.mode = mode
        self.state = .pending
        self.direction = .forward
        self.attempt = 0
        self.maxAttempts = maxAttempts
        self.fault = nil
    }

    /// The machine where a store's row left it.
    package init(mode: Mode, state: MigrationState, direction: Direction, attempt: Int, maxAttempts: Int, fault: Fault?) {
        self.mode = mode
        self.state = state
        self.direction = direction
        self.attempt = attempt
        self.maxAttempts = maxAttempts
        self.fault = fault
    }

    /// What happened.
    package enum Event: Hashable, Sendable {
        /// A worker claimed it and the limits allow.
        case claimed
        /// A target was chosen and reserved.
        case placed(hasLocalDisks: Bool)
        /// Live: every mirror is ready. Cold: every disk is copied and verified.
        case disksSynced
        /// Live: the source's vCPUs stand still for the last pass.
        case sourceStopped
        /// The target owns the server, and it runs there or is defined there.
        case targetOwns
        case failed(Fault)
        case cancelled
        /// Going back, the target was found to own the server: there is no way back.
        case targetFoundOwning
        /// Every compensation is done or recorded as a cleanup.
        case rolledBack
    }

    /// What must be done in the same transaction that records the new state.
    package enum Action: Hashable, Sendable {
        /// Write the history row of this change.
        case record
        /// Hold on the target what the server will need.
        case reserve
        /// Let go of what was held on the target.
        case release
        /// Walk the journal backwards.
        case rollBack
        /// The server is on the target from now on.
        case commitPlacement
        /// Have the source's guest and disks removed.
        case cleanUpSource
        /// Not to be claimed before a delay, which grows with the attempts made.
        case scheduleRetry(attemptsMade: Int)
        /// Leave this attempt's target out of the next placement.
        case excludeTarget
        /// Give the server the status it had before.
        case restoreServerStatus
    }

    /// An event that the present state does not know.
    package struct InvalidTransition: Error, Hashable, CustomStringConvertible {
        package let mode: Mode
        package let state: MigrationState
        package let direction: Direction
        package let event: Event

        package var description: String {
            "\(event) cannot happen to a \(mode.rawValue) migration in \(state.rawValue) going \(direction.rawValue)"
        }
    }

    /// Takes an event in.
    ///
    /// - Returns: the actions that belong into the same transaction as the new state.
    /// - Throws: ``InvalidTransition``, with the machine unchanged.
    package mutating func apply(_ event: Event) throws(InvalidTransition) -> [Action] {
        guard !state.isFinished else { throw refusal(of: event) }
        switch event {
        case .failed(let fault): return try turn(for: fault, event)
        case .cancelled:
            return try turn(for: Fault(.cancelled, "The migration was cancelled.", remedy: .none), event)
        case .targetFoundOwning: return try turnForward(event)
        case .rolledBack: return try finishRollback(event)
        case .claimed, .placed, .disksSynced, .sourceStopped, .targetOwns: return try advance(event)
        }
    }

    private mutating func advance(_ event: Event) throws(InvalidTransition) -> [Action] {
        guard direction == .forward else { throw refusal(of: event) }
        switch (state, event, mode) {
        case (.pending, .claimed, _):
            state = .scheduling
            attempt = 1
            return [.record]
        case (.scheduling, .placed(let hasLocalDisks), .live):
            state = hasLocalDisks ? .syncingDisk : .syncingMemory
            return [.reserve, .record]
        case (.scheduling, .placed(let hasLocalDisks), .cold):
            state = hasLocalDisks ? .syncingDisk : .switching
            return [.reserve, .record]
        case (.scheduling, .placed(hasLocalDisks: false), .rescue):
            state = .switching
            return [.reserve, .record]
        case (.syncingDisk, .disksSynced, .live):
            state = .syncingMemory
            return [.record]
        case (.syncingDisk, .disksSynced, .cold):
            state = .switching
            return [.record]
        case (.syncingMemory, .sourceStopped, .live):
            state = .switching
            return [.record]
        case (.switching, .targetOwns, _):
            state = .ready
            return [.commitPlacement, .release, .cleanUpSource, .record]
        default:
            throw refusal(of: event)
        }
    }

    private mutating func turn(for fault: Fault, _ event: Event) throws(InvalidTransition) -> [Action] {
        switch direction {
        case .forward:
            direction = .rollback
            self.fault = fault
            return [.rollBack, .record]
        case .rollback:
            // A rollback is not turned again; a cancellation meanwhile only forbids the next attempt.
            guard case .cancelled = event else { throw refusal(of: event) }
            self.fault = fault
            return [.record]
        }
    }

    private mutating func turnForward(_ event: Event) throws(InvalidTransition) -> [Action] {
        guard direction == .rollback else { throw refusal(of: event) }
        switch (state, mode) {
        // Leave to switch is given in syncing-memory, so the store may still say that.
        case (.switching, _), (.syncingMemory, .live):
            state = .switching
            direction = .forward
            fault = nil
            return [.record]
        default:
            throw refusal(of: event)
        }
    }

    private mutating func finishRollback(_ event: Event) throws(InvalidTransition) -> [Action] {
        guard direction == .rollback, let fault else { throw refusal(of: event) }
        direction = .forward
        guard fault.remedy != .none, attempt < maxAttempts else {
            state = .failed
            return [.release, .restoreServerStatus, .record]
        }
        state = .scheduling
        let attemptsMade = attempt
        attempt = max(1, attempt + 1)
        self.fault = nil
        let retry: [Action] = [.release, .scheduleRetry(attemptsMade: attemptsMade), .record]
        return fault.remedy == .otherTarget ? [.excludeTarget] + retry : retry
    }

    private func refusal(of event: Event) -> InvalidTransition {
        InvalidTransition(mode: mode, state: state, direction: direction, event: event)
    }
}
