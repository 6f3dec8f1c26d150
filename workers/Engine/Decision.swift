import Fleet

/// What to do next with a migration: a function of its row, its journal and its plan, and of nothing else. A worker that has just claimed
/// it and one that has run it from the start decide alike.
enum Decision: Hashable {
    /// `ready` or `failed`: nothing.
    case finished
    /// Tell the machine.
    case apply(MigrationMachine.Event)
    /// Write the journal row of the step at this place in the plan.
    case begin(Int)
    /// Do the step; its row stands.
    case perform(Int)
    /// Undo the step.
    case compensate(Int)
    /// Row, journal and plan contradict each other, as after a change of the program: for a person.
    case defect(String)

    static func next(_ migration: Migration, _ journal: [JournalEntry], _ plan: Plan) -> Decision {
        if migration.state.isFinished { return .finished }
        let entries = journal.filter { $0.attempt == migration.attempt }
        switch migration.direction {
        case .forward: return forward(migration, entries, plan)
        case .rollback: return rollback(migration, entries, plan)
        }
    }

    private static func forward(_ migration: Migration, _ entries: [JournalEntry], _ plan: Plan) -> Decision {
        if migration.cancelRequested, !plan.isBeyondReturn(migration, entries) { return .apply(.cancelled) }
        if migration.state == .pending { return .apply(.claimed) }
        for (position, step) in plan.steps.enumerated() {
            let status = entries.first { $0.step == step.name }?.status
            if status == .done || step.states.allSatisfy({ $0.rank < migration.state.rank }) { continue }
            guard step.states.contains(migration.state) else {
                return .defect("step \(step.name) is next, and does not belong into \(migration.state.rawValue)")
            }
            return status == .started ? .perform(position) : .begin(position)
        }
        return .defect("every step is done, and the migration is \(migration.state.rawValue)")
    }

    private static func rollback(_ migration: Migration, _ entries: [JournalEntry], _ plan: Plan) -> Decision {
        // Only a reason that would be tried again is worth replacing.
        if migration.cancelRequested, migration.remedy != Fault.Remedy.none { return .apply(.cancelled) }
        let standing = entries.filter { $0.status == .started || $0.status == .done }
        guard let last = standing.max(by: { $0.position < $1.position }) else { return .apply(.rolledBack) }
        guard let position = plan.position(of: last.step) else {
            return .defect("the journal has a step \(last.step) that this version does not know")
        }
        return .compensate(position)
    }
}

extension MigrationState {
    /// Its place on the way from `pending` to `ready`.
    var rank: Int {
        switch self {
        case .pending: 0
        case .scheduling: 1
        case .syncingDisk: 2
        case .syncingMemory: 3
        case .switching: 4
        case .ready: 5
        case .failed: 6
        }
    }
}
