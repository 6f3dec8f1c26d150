package import Fleet

/// How one mode is carried out: its steps in order, and what the server is called meanwhile.
package struct Plan: Sendable {
    package let mode: Mode
    package let steps: [any Step]
    /// The server's status from the first claim on.
    package let statusWhileMoving: ServerStatus
    /// The server's status on its new host.
    package let statusWhenReady: ServerStatus
    /// The server's status after a failure, with a note where it is not what it was before.
    package let statusAfterFailure: @Sendable (Fault) -> (status: ServerStatus, note: Reason?)
    /// After a failure the server's status is what it was when the migration was accepted, where that is known.
    package let restoresStatus: Bool

    package init(
        mode: Mode, steps: [any Step], statusWhileMoving: ServerStatus, statusWhenReady: ServerStatus,
        statusAfterFailure: @escaping @Sendable (Fault) -> (status: ServerStatus, note: Reason?), restoresStatus: Bool = false
    ) {
        self.mode = mode
        self.steps = steps
        self.statusWhileMoving = statusWhileMoving
        self.statusWhenReady = statusWhenReady
        self.statusAfterFailure = statusAfterFailure
        self.restoresStatus = restoresStatus
    }

    func position(of name: String) -> Int? { steps.firstIndex { $0.name == name } }

    /// True once a step that is the point of no return is done in this attempt, or going back it was found that the target owns.
    func isBeyondReturn(_ migration: Migration, _ journal: [JournalEntry]) -> Bool {
        journal.contains { entry in
            entry.attempt == migration.attempt && entry.status == .done
                && (entry.step == Self.targetOwnsStep || steps.contains { $0.isPointOfNoReturn && $0.name == entry.step })
        }
    }

    /// The journal's row of the finding that turned a rollback forward, so that nothing turns it back again.
    func targetOwnsMark(attempt: Int) -> JournalEntry {
        JournalEntry(attempt: attempt, step: Self.targetOwnsStep, position: steps.count, status: .done)
    }

    private static let targetOwnsStep = "target-found-owning"
}

/// The plans that a worker can carry out, by mode.
package struct PlanCatalog: Sendable {
    private let plans: [Mode: Plan]

    package init(_ plans: [Plan]) {
        self.plans = Dictionary(plans.map { ($0.mode, $0) }) { _, last in last }
    }

    package func plan(for mode: Mode) -> Plan? { plans[mode] }
}
