import Fleet
import Testing

@testable import Engine

/// Every combination of row and journal, held against what the design says in words.
@Suite struct DecisionTests {
    static let plan = Script(target: "h2").plan(Recorder())
    static let statuses: [JournalEntry.Status?] = [nil, .started, .done, .compensated, .deferred]

    /// The journals that differ in the four steps in the middle; the first is done, the last not begun.
    static func journals() -> [[JournalEntry.Status?]] {
        var all: [[JournalEntry.Status?]] = [[.done]]
        for _ in 0..<4 { all = all.flatMap { journal in statuses.map { journal + [$0] } } }
        return all.map { $0 + [nil] }
    }

    static func entries(_ statuses: [JournalEntry.Status?], attempt: Int = 2) -> [JournalEntry] {
        zip(Script.names, statuses).enumerated().compactMap { position, pair in
            pair.1.map { JournalEntry(attempt: attempt, step: pair.0, position: position, status: $0) }
        }
    }

    static func row(_ state: MigrationState, _ direction: Direction, cancel: Bool = false) -> Migration {
        Migration(
            id: "m", server: "s", mode: .live, options: MigrationOptions(), state: state, direction: direction, epoch: Epoch(3), attempt: 2,
            source: "h1", target: "h2", reason: direction == .rollback ? Reason(.stalled, "x") : nil,
            remedy: direction == .rollback ? .sameTarget : nil, cancelRequested: cancel, actor: "ada", createdAt: .now, dueAt: .now)
    }

    @Test(arguments: MigrationState.allCases, [false, true])
    func `decides as the design says, whatever the journal`(state: MigrationState, cancel: Bool) {
        let states: [Set<MigrationState>] = [
            [.scheduling], [.syncingDisk, .syncingMemory], [.syncingDisk], [.syncingMemory], [.switching], [.switching],
        ]
        let order = MigrationState.allCases
        for statuses in Self.journals() {
            let journal = Self.entries(statuses)
            for direction in Direction.allCases {
                let decision = Decision.next(Self.row(state, direction, cancel: cancel), journal, Self.plan)
                let expected: Decision
                if state.isFinished {
                    expected = .finished
                } else if direction == .rollback {
                    let last = statuses.lastIndex { $0 == .started || $0 == .done }
                    expected = cancel ? .apply(.cancelled) : last.map { .compensate($0) } ?? .apply(.rolledBack)
                } else if cancel, statuses[4] != .done {
                    expected = .apply(.cancelled)
                } else if state == .pending {
                    expected = .apply(.claimed)
                } else {
                    let here = order.firstIndex(of: state) ?? 0
                    let open = (0..<6).first { step in
                        let isPassed = states[step].allSatisfy { (order.firstIndex(of: $0) ?? 0) < here }
                        return !isPassed && statuses[step] != .done
                    }
                    switch open {
                    case .some(let step) where !states[step].contains(state):
                        guard case .defect = decision else {
                            Issue.record("\(state) \(statuses): \(decision)")
                            continue
                        }
                        continue
                    case .some(let step): expected = statuses[step] == .started ? .perform(step) : .begin(step)
                    case nil:
                        Issue.record("the last step is never done")
                        continue
                    }
                }
                #expect(decision == expected, "\(state) \(direction) cancel \(cancel) \(statuses)")
            }
        }
    }

    @Test func `other attempts' rows decide nothing`() {
        let journal = Self.entries([.done, .done, .done, .done, .done, .done], attempt: 1)
        #expect(Decision.next(Self.row(.scheduling, .forward), journal, Self.plan) == .begin(0))
        #expect(Decision.next(Self.row(.syncingDisk, .rollback), journal, Self.plan) == .apply(.rolledBack))
    }

    @Test func `a cancellation that is known already does not replace itself`() {
        var row = Self.row(.syncingDisk, .rollback, cancel: true)
        row.remedy = Fault.Remedy.none
        #expect(Decision.next(row, Self.entries([.done, .started]), Self.plan) == .compensate(1))
    }

    @Test func `nothing turns a migration back that was found owned by its target`() {
        let journal = Self.entries([.done, .done, .done, .done, .started]) + [Self.plan.targetOwnsMark(attempt: 2)]
        #expect(Decision.next(Self.row(.switching, .forward, cancel: true), journal, Self.plan) == .perform(4))
    }

    @Test func `a plan that is at its end before the machine is a defect`() {
        let journal = Self.entries([.done, .done, .done, .done, .done, .done])
        guard case .defect = Decision.next(Self.row(.switching, .forward), journal, Self.plan) else {
            Issue.record("not a defect")
            return
        }
    }

    @Test func `a journal row of an unknown step is a defect on the way back`() {
        let journal = [JournalEntry(attempt: 2, step: "of-old", position: 1, status: .done)]
        guard case .defect = Decision.next(Self.row(.switching, .rollback), journal, Self.plan) else {
            Issue.record("not a defect")
            return
        }
    }
}

@Suite struct BackoffTests {
    /// A generator that a seed replays.
    struct Seeded: RandomNumberGenerator {
        var state: UInt64
        mutating func next() -> UInt64 {
            state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            return state
        }
    }

    let backoff = Backoff(base: .seconds(1), cap: .seconds(60))

    @Test func `doubles up to its bound`() {
        #expect((1...8).map { backoff.ceiling(after: $0) } == [1, 2, 4, 8, 16, 32, 60, 60].map { Duration.seconds($0) })
        #expect(backoff.ceiling(after: 10_000) == .seconds(60))
        #expect(backoff.ceiling(after: 0) == .seconds(1))
    }

    @Test func `leaves half to chance`() {
        var random = Seeded(state: 1)
        for tries in 1...10 {
            var seen: Set<Duration> = []
            for _ in 0..<50 {
                let delay = backoff.delay(after: tries, using: &random)
                #expect(delay >= backoff.ceiling(after: tries) / 2 && delay <= backoff.ceiling(after: tries))
                seen.insert(delay)
            }
            #expect(seen.count > 40)
        }
    }

    @Test func `a seed replays it`() {
        var one = Seeded(state: 7)
        var two = Seeded(state: 7)
        #expect((1...20).map { backoff.delay(after: $0, using: &one) } == (1...20).map { backoff.delay(after: $0, using: &two) })
    }
}
