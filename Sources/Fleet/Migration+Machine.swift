extension Migration {
    /// The state machine where this row left it.
    package var machine: MigrationMachine {
        let faulty = direction == .rollback || state == .failed
        let fault = faulty ? reason.map { Fault($0, remedy: remedy ?? .none) } : nil
        return MigrationMachine(
            mode: mode, state: state, direction: direction, attempt: attempt, maxAttempts: maxAttempts, fault: fault)
    }

    /// Takes over what the machine says now. The reason of an attempt that is tried again stays until the migration succeeds.
    package mutating func follow(_ machine: MigrationMachine) {
        let turnedForward = direction == .rollback && machine.direction == .forward && machine.state == .switching
        state = machine.state
        direction = machine.direction
        attempt = machine.attempt
        remedy = machine.fault?.remedy
        if let fault = machine.fault {
            reason = fault.reason
        } else if state == .ready || turnedForward {
            reason = nil
        }
    }
}
