import Fleet
import Testing

@testable import Controller

@Suite struct HostDownDecisionTests {
    typealias Decision = HostDownDecision
    private static let certain = GuardTiming.certainAfterMS(lease: GuardTiming.standardLeaseMS)

    @Test func `of all that may be known only one thing is proof`() {
        for wanted in [true, false] {
            for online in [true, false] {
                for shut in [true, false] {
                    for confirmed in [true, false] {
                        for silent in [true, false] {
                            for unchanged: Int64 in [0, Self.certain - 1, Self.certain, Int64.max / 2] {
                                let sight = Decision.Sighting(
                                    isWanted: wanted, isOnline: online, wasShutDown: shut, isConfirmed: confirmed, unchangedMS: unchanged,
                                    isSilent: silent)
                                let isProven = wanted && !online && !shut && confirmed && silent && unchanged >= Self.certain
                                #expect((Decision.verdict(on: sight, isSuspicious: nil) == .dead) == isProven, "\(sight)")
                                let held = Decision.verdict(on: sight, isSuspicious: (3, 4))
                                #expect((held == .held(down: 3, of: 4)) == isProven && held != .dead, "\(sight)")
                            }
                        }
                    }
                }
            }
        }
    }

    @Test func `what is said is why nothing is done`() {
        func verdict(_ change: (inout Decision.Sighting) -> Void) -> Decision.Verdict {
            var sight = Decision.Sighting(unchangedMS: Self.certain)
            change(&sight)
            return Decision.verdict(on: sight, isSuspicious: nil)
        }
        #expect(verdict { $0.isWanted = false } == .none)
        #expect(verdict { $0.isOnline = true } == .none)
        #expect(verdict { $0.wasShutDown = true } == .shutDown)
        #expect(verdict { $0.isConfirmed = false } == .unproven)
        #expect(verdict { $0.isSilent = false } == .none)
        #expect(verdict { $0.unchangedMS = Self.certain - 700 } == .notYet(700))
        #expect(verdict { $0.leaseMS = GuardTiming.standardLeaseMS + 5 } == .notYet(5), "by the longest lease that was given")
    }

    @Test(arguments: [
        (2, 0, false), (2, 1, false), (3, 0, true), (3, 6, true), (3, 7, false), (33, 67, false), (34, 66, true), (1, 0, false),
    ])
    func `many at once are not believed`(down: Int, online: Int, isSuspicious: Bool) {
        let found = Decision.suspects(down: down, online: online, .init())
        #expect((found != nil) == isSuspicious)
        if let found { #expect(found == (down, down + online)) }
    }

    @Test func `a guard is told what its host is to do`() {
        let known = HostGuard(number: 4, isConfirmed: true, leaseMS: 1)
        let fresh = HostGuard()
        let (serving, absent, leaving) = (
            GuardReport(state: .serving), GuardReport(state: .absent), GuardReport(state: .leaving, isArmed: true)
        )
        #expect(fresh.step(isWanted: true, isFenced: false, report: serving) == .lease)
        #expect(fresh.step(isWanted: true, isFenced: false, report: absent) == .nothing)
        #expect(fresh.step(isWanted: true, isFenced: false, report: leaving) == .release)
        #expect(fresh.step(isWanted: false, isFenced: false, report: serving) == .nothing)
        #expect(fresh.step(isWanted: false, isFenced: false, report: GuardReport(state: .serving, isArmed: true)) == .release)
        #expect(known.step(isWanted: true, isFenced: false, report: absent) == .release)
        #expect(known.step(isWanted: false, isFenced: false, report: serving) == .release)
        #expect(known.step(isWanted: true, isFenced: false, report: nil) == .release)
        #expect(known.step(isWanted: true, isFenced: false, isEnding: true, report: leaving) == .nothing)
        for report in [serving, absent, leaving, nil] {
            for wanted in [true, false] { #expect(known.step(isWanted: wanted, isFenced: true, report: report) == .nothing) }
        }
    }
}
