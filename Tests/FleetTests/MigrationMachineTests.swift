import Fleet
import Testing

/// Every transition of the machine, held against a table that was written from the design and not from the code.
@Suite struct MigrationMachineTests {
    /// One allowed transition; all others must be refused.
    struct Row: Sendable {
        var mode: Mode
        var from: MigrationState
        var direction = Direction.forward
        var event: MigrationMachine.Event
        var to: MigrationState
        var toDirection = Direction.forward
        var actions: [MigrationMachine.Action]
    }

    static let sameTarget = Fault(.stalled, "No byte moved.", remedy: .sameTarget)
    static let otherTarget = Fault(.targetLost, "host2 went away.", remedy: .otherTarget)
    static let hopeless = Fault(.guestStopped, "The guest ended.", remedy: .none)

    static let events: [MigrationMachine.Event] = [
        .claimed, .placed(hasLocalDisks: true), .placed(hasLocalDisks: false), .disksSynced, .sourceStopped, .targetOwns,
        .failed(sameTarget), .failed(otherTarget), .failed(hopeless), .cancelled, .targetFoundOwning, .rolledBack,
    ]

    static let unfinished: [MigrationState] = [.pending, .scheduling, .syncingDisk, .syncingMemory, .switching]

    /// Chapter 5 of the design, line by line. The machine under test is in attempt 1 of 3 (0 while pending) and, going back, goes back
    /// for `sameTarget`.
    static let table: [Row] = {
        var rows: [Row] = [
            Row(mode: .live, from: .scheduling, event: .placed(hasLocalDisks: true), to: .syncingDisk, actions: [.reserve, .record]),
            Row(mode: .live, from: .scheduling, event: .placed(hasLocalDisks: false), to: .syncingMemory, actions: [.reserve, .record]),
            Row(mode: .live, from: .syncingDisk, event: .disksSynced, to: .syncingMemory, actions: [.record]),
            Row(mode: .live, from: .syncingMemory, event: .sourceStopped, to: .switching, actions: [.record]),
            Row(
                mode: .live, from: .syncingMemory, direction: .rollback, event: .targetFoundOwning, to: .switching,
                actions: [.record]),
            Row(mode: .cold, from: .scheduling, event: .placed(hasLocalDisks: true), to: .syncingDisk, actions: [.reserve, .record]),
            Row(mode: .cold, from: .scheduling, event: .placed(hasLocalDisks: false), to: .switching, actions: [.reserve, .record]),
            Row(mode: .cold, from: .syncingDisk, event: .disksSynced, to: .switching, actions: [.record]),
            Row(mode: .rescue, from: .scheduling, event: .placed(hasLocalDisks: false), to: .switching, actions: [.reserve, .record]),
        ]
        for mode in Mode.allCases {
            rows += [
                Row(mode: mode, from: .pending, event: .claimed, to: .scheduling, actions: [.record]),
                Row(
                    mode: mode, from: .switching, event: .targetOwns, to: .ready,
                    actions: [.commitPlacement, .release, .cleanUpSource, .record]),
                Row(
                    mode: mode, from: .switching, direction: .rollback, event: .targetFoundOwning, to: .switching,
                    actions: [.record]),
            ]
            for state in unfinished {
                for event in [
                    MigrationMachine.Event.failed(sameTarget), .failed(otherTarget), .failed(hopeless), .cancelled,
                ] {
                    rows.append(
                        Row(mode: mode, from: state, event: event, to: state, toDirection: .rollback, actions: [.rollBack, .record]))
                }
                rows += [
                    Row(
                        mode: mode, from: state, direction: .rollback, event: .cancelled, to: state, toDirection: .rollback,
                        actions: [.record]),
                    Row(
                        mode: mode, from: state, direction: .rollback, event: .rolledBack, to: .scheduling,
                        actions: [.release, .scheduleRetry(attemptsMade: state == .pending ? 0 : 1), .record]),
                ]
            }
        }
        return rows
    }()

    static func machine(_ mode: Mode, _ state: MigrationState, _ direction: Direction) -> MigrationMachine {
        MigrationMachine(
            mode: mode, state: state, direction: direction, attempt: state == .pending ? 0 : 1, maxAttempts: 3,
            fault: direction == .rollback ? sameTarget : nil)
    }

    @Test(arguments: Mode.allCases, MigrationState.allCases)
    func `allows exactly what the table allows`(mode: Mode, state: MigrationState) {
        for direction in Direction.allCases {
            for event in Self.events {
                let expected = Self.table.filter {
                    $0.mode == mode && $0.from == state && $0.direction == direction && $0.event == event
                }
                #expect(expected.count <= 1, "the table contradicts itself")
                let before = Self.machine(mode, state, direction)
                var machine = before
                if let row = expected.first {
                    do {
                        let actions = try machine.apply(event)
                        #expect(machine.state == row.to, "\(mode) \(state) \(direction) \(event)")
                        #expect(machine.direction == row.toDirection, "\(mode) \(state) \(direction) \(event)")
                        #expect(actions == row.actions, "\(mode) \(state) \(direction) \(event)")
                    } catch {
                        Issue.record("refused: \(error)")
                    }
                } else {
                    do {
                        let actions = try machine.apply(event)
                        Issue.record("\(mode) \(state) \(direction) took \(event): \(actions)")
                    } catch {
                        #expect(error.mode == mode && error.state == state && error.direction == direction && error.event == event)
                    }
                    #expect(machine == before, "a refused event changed the machine")
                }
            }
        }
    }

    @Test func `the table reaches every state from pending and leaves none but the finished ones`() {
        for mode in Mode.allCases {
            var reached: Set<MigrationState> = [.pending]
            var frontier = reached
            while !frontier.isEmpty {
                let next = Set(Self.table.filter { $0.mode == mode && frontier.contains($0.from) }.map(\.to)).subtracting(reached)
                reached.formUnion(next)
                frontier = next
            }
            let expected: Set<MigrationState> =
                switch mode {
                case .live: [.pending, .scheduling, .syncingDisk, .syncingMemory, .switching, .ready]
                case .cold: [.pending, .scheduling, .syncingDisk, .switching, .ready]
                case .rescue: [.pending, .scheduling, .switching, .ready]
                }
            #expect(reached == expected)
            for state in MigrationState.allCases {
                #expect(Self.table.contains { $0.mode == mode && $0.from == state } == !state.isFinished)
            }
        }
    }

    @Test func `a live migration with local disks walks all states`() throws {
        var machine = MigrationMachine(mode: .live, maxAttempts: 3)
        var states = [machine.state]
        for event in [
            MigrationMachine.Event.claimed, .placed(hasLocalDisks: true), .disksSynced, .sourceStopped, .targetOwns,
        ] {
            _ = try machine.apply(event)
            states.append(machine.state)
        }
        #expect(states == [.pending, .scheduling, .syncingDisk, .syncingMemory, .switching, .ready])
        #expect(machine.attempt == 1)
    }

    @Test func `tries again until the attempts are used up`() throws {
        var machine = MigrationMachine(mode: .live, maxAttempts: 3)
        _ = try machine.apply(.claimed)
        for attempt in 1...3 {
            #expect(machine.attempt == attempt)
            _ = try machine.apply(.failed(Self.sameTarget))
            let actions = try machine.apply(.rolledBack)
            if attempt < 3 {
                #expect(actions == [.release, .scheduleRetry(attemptsMade: attempt), .record])
                #expect(machine.state == .scheduling)
                #expect(machine.fault == nil)
            } else {
                #expect(actions == [.release, .restoreServerStatus, .record])
                #expect(machine.state == .failed)
                #expect(machine.fault == Self.sameTarget)
            }
            #expect(machine.direction == .forward)
        }
    }

    @Test func `leaves the target out when it is to blame`() throws {
        var machine = MigrationMachine(mode: .live, maxAttempts: 2)
        _ = try machine.apply(.claimed)
        _ = try machine.apply(.failed(Self.otherTarget))
        #expect(try machine.apply(.rolledBack) == [.excludeTarget, .release, .scheduleRetry(attemptsMade: 1), .record])
    }

    @Test func `makes no second attempt when none would help`() throws {
        var machine = MigrationMachine(mode: .cold, maxAttempts: 5)
        _ = try machine.apply(.claimed)
        _ = try machine.apply(.failed(Self.hopeless))
        _ = try machine.apply(.rolledBack)
        #expect(machine.state == .failed)
        #expect(machine.fault == Self.hopeless)
    }

    @Test(arguments: Mode.allCases, unfinished)
    func `a cancelled migration rolls back and fails as cancelled`(mode: Mode, state: MigrationState) throws {
        var machine = Self.machine(mode, state, .forward)
        #expect(try machine.apply(.cancelled) == [.rollBack, .record])
        #expect(machine.state == state)
        #expect(try machine.apply(.rolledBack) == [.release, .restoreServerStatus, .record])
        #expect(machine.state == .failed)
        #expect(machine.fault?.reason.code == .cancelled)
    }

    @Test(arguments: Mode.allCases, unfinished)
    func `a cancellation during a rollback forbids the next attempt`(mode: Mode, state: MigrationState) throws {
        var machine = Self.machine(mode, state, .rollback)
        #expect(try machine.apply(.cancelled) == [.record])
        _ = try machine.apply(.rolledBack)
        #expect(machine.state == .failed)
        #expect(machine.fault?.reason.code == .cancelled)
    }

    @Test func `a switchover that was found done forgets the fault and can only end ready`() throws {
        var machine = MigrationMachine(
            mode: .live, state: .syncingMemory, direction: .rollback, attempt: 1, maxAttempts: 3, fault: Self.hopeless)
        _ = try machine.apply(.targetFoundOwning)
        #expect(machine.fault == nil)
        _ = try machine.apply(.targetOwns)
        #expect(machine.state == .ready)
    }

    @Test func `a refused event says what was refused`() {
        var machine = MigrationMachine(mode: .rescue, maxAttempts: 1)
        #expect {
            _ = try machine.apply(.targetOwns)
        } throws: { "\($0)" == "targetOwns cannot happen to a rescue migration in pending going forward" }
    }

    @Test(arguments: Mode.allCases, MigrationState.allCases)
    func `a row gives its machine back and follows it`(mode: Mode, state: MigrationState) {
        for direction in Direction.allCases where !(state.isFinished && direction == .rollback) {
            let faulty = direction == .rollback || state == .failed
            var row = exampleMigration()
            row.mode = mode
            row.state = state
            row.direction = direction
            row.attempt = 2
            row.reason = Self.otherTarget.reason
            row.remedy = faulty ? .otherTarget : nil
            let machine = row.machine
            #expect(machine.state == state && machine.direction == direction && machine.attempt == 2 && machine.mode == mode)
            #expect(machine.fault == (faulty ? Self.otherTarget : nil))
            var same = row
            same.follow(machine)
            if state == .ready { row.reason = nil }
            #expect(same == row)
        }
    }

    @Test func `a row keeps the reason of the attempt before until it is ready`() throws {
        var row = exampleMigration()
        var machine = row.machine
        _ = try machine.apply(.claimed)
        _ = try machine.apply(.failed(Self.sameTarget))
        row.follow(machine)
        #expect(row.remedy == .sameTarget)
        _ = try machine.apply(.rolledBack)
        row.follow(machine)
        #expect(row.reason == Self.sameTarget.reason && row.remedy == nil && row.attempt == 2)
        for event in [MigrationMachine.Event.placed(hasLocalDisks: false), .sourceStopped, .targetOwns] {
            _ = try machine.apply(event)
        }
        row.follow(machine)
        #expect(row.reason == nil && row.state == .ready)
    }
}

func exampleMigration() -> Migration {
    Migration(
        id: "m1", server: "s1", mode: .live, options: MigrationOptions(), epoch: Epoch(7), source: "h1", actor: "test",
        createdAt: Timestamp(milliseconds: 1000), dueAt: Timestamp(milliseconds: 1000))
}
