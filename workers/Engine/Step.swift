package import Fleet

/// A named piece of work inside a state of a migration.
///
/// Both its methods are *ensure* calls: a worker that died left no more than a journal row that says `started`, and the next worker calls
/// them again. They find done what is done and go on with what runs.
package protocol Step: Sendable {
    /// Its name in the journal; kept for ever.
    var name: String { get }
    /// The states in which it runs. A migration that is beyond all of them has passed it.
    var states: Set<MigrationState> { get }
    /// Once this step is done no cancellation and no fault turns the migration back.
    var isPointOfNoReturn: Bool { get }

    /// Does it.
    ///
    /// - Throws: ``Fault`` when it failed, ``Awaiting`` when it cannot be known or done now and going back is no way out, ``Superseded``
    ///   when somebody newer holds the server. Of a ``StoreError`` `unavailable` the step is done again.
    func perform(_ context: StepContext) async throws -> StepResult

    /// Undoes it, also when it was only begun.
    ///
    /// - Throws: ``Awaiting`` when it cannot be done now and leaving it would be dangerous; ``Superseded``.
    func compensate(_ context: StepContext) async throws -> Compensation
}

extension Step {
    package var isPointOfNoReturn: Bool { false }
}

/// What a step found out, and what its end means.
package struct StepResult: Sendable {
    /// For later steps and for a later worker: JSON.
    package var output: String?
    /// What its end means to the state machine; nil when the migration stays where it is.
    package var event: MigrationMachine.Event?
    /// The chosen host and what is to be held there, for the step that places.
    package var reservation: Reservation?
    /// What the server is described as once it is placed, where that is not what it was.
    package var description: GuestDescription?
    /// Go into the history row: bytes, milliseconds, microseconds, by name.
    package var numbers: [String: Int64] = [:]
    package var progress: Progress?
    package var blackout: Blackout?

    package init(event: MigrationMachine.Event? = nil) {
        self.event = event
    }

    package init(output: some Encodable, event: MigrationMachine.Event? = nil) throws {
        self.output = try StepOutput.encode(output)
        self.event = event
    }
}

/// How a step's undoing ended.
package enum Compensation: Hashable, Sendable {
    case done
    /// It cannot be done now and does no harm meanwhile: these stand for it.
    case deferred([Cleanup])
    /// There is nothing to undo any more: the target durably owns the server, and the migration must go on.
    case targetOwns
}

/// Nothing can be done now but to wait: the migration stays in its state, says what for, and is looked at again.
package struct Awaiting: Error, Hashable, Sendable, CustomStringConvertible {
    /// Completes *awaiting …*: `host2 to answer: the guest was handed over to it`.
    package let what: String
    /// What stands in the way, where something said so.
    package let reason: Reason?
    /// Nothing of the attempt stands anywhere, so that nobody has to hold the migration meanwhile: its worker turns to others.
    package let holdsNothing: Bool

    package init(_ what: String, reason: Reason? = nil, holdsNothing: Bool = false) {
        self.what = what
        self.reason = reason
        self.holdsNothing = holdsNothing
    }

    package var description: String { "awaiting \(what)" }
}

/// Somebody newer holds the server: this worker's part is over and it changes nothing any more.
package struct Superseded: Error, Hashable, Sendable {
    package init() {}
}
