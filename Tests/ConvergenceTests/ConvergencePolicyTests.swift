import Fleet
import Foundation
import Testing

@testable import Convergence

/// A guest that writes into a part of its memory, and QEMU that sends it, pass after pass.
struct Workload: Sendable, CustomTestStringConvertible {
    /// Bytes: of memory, and of the part that is written all the time.
    var memory: Int64 = 1_000_000_000
    var hot: Int64
    /// Bytes a second: dirtied when it is not throttled, and sent.
    var dirtying: Int64
    var bandwidth: Int64 = 100_000_000
    /// The guest does not mind being throttled.
    var isDeaf = false

    var testDescription: String { "\(hot) bytes hot at \(dirtying) B/s" }

    enum Ending: Equatable {
        case switched(atLimit: Int64)
        case postCopy
        case gaveUp(String)
    }

    struct Run {
        var ending: Ending?
        var limits: [Int64] = []
        var events: [PolicyEvent] = []
        var passes: Int64 = 0
    }

    /// Runs it as QEMU does: at the end of each pass it stops the guest if what is left fits into the limit.
    func run(_ rules: ConvergenceRules) -> Run {
        var policy = ConvergencePolicy(rules)
        let steps = ConvergencePolicy.throttleSteps(rules)
        var run = Run(limits: [policy.limit])
        var (left, throttle, high, clock) = (memory, Int64(0), 0, Int64(0))
        for pass in 1...2000 as ClosedRange<Int64> {
            run.passes = pass
            if pass > 1, left * 1000 / bandwidth <= policy.limit {
                run.ending = .switched(atLimit: policy.limit)
                return run
            }
            let sight = ConvergencePolicy.Sight(
                pass: pass, remaining: left, dirtyRate: rate(throttle), rate: bandwidth, throttle: throttle,
                expectedDowntimeMS: left * 1000 / bandwidth, atMS: clock)
            for action in policy.observe(sight) {
                switch action {
                case .setDowntimeLimit(let limit): run.limits.append(limit)
                case .tell(let event): run.events.append(event)
                case .startPostCopy:
                    run.ending = .postCopy
                    return run
                case .giveUp(let reason):
                    run.ending = .gaveUp(reason.message)
                    #expect(reason.code == .didNotConverge)
                    return run
                }
            }
            let milliseconds = max(1, left * 1000 / bandwidth)
            clock += milliseconds
            let dirtied = min(hot, rate(throttle) * milliseconds / 1000)
            // QEMU's rule: twice in a row more than half of what was sent is dirty again.
            high = dirtied * 2 > left ? high + 1 : 0
            if rules.autoConverge, high >= 2 {
                high = 0
                throttle = min(ConvergencePolicy.fullThrottle, throttle == 0 ? steps.initial : throttle + steps.increment)
            }
            left = dirtied
        }
        return run
    }

    private func rate(_ throttle: Int64) -> Int64 { isDeaf ? dirtying : dirtying * (100 - throttle) / 100 }

    static let all: [Workload] = [0, 1_000_000, 20_000_000, 60_000_000, 400_000_000, 1_000_000_000].flatMap { hot in
        [0, 10_000_000, 60_000_000, 100_000_000, 2_000_000_000].flatMap { dirtying in
            [false, true].map { Workload(hot: hot, dirtying: dirtying, isDeaf: $0) }
        }
    }
}

@Suite struct ConvergencePolicyTests {
    static let rules: [ConvergenceRules] = [30, 300, 2000].flatMap { limit in
        [false, true].flatMap { quick in
            [false, true].flatMap { slow in
                [false, true].map { postCopy in
                    ConvergenceRules(
                        downtimeLimitMS: limit, quicklyFinish: quick, maxDowntimeMS: 5000, autoConverge: slow, postCopy: postCopy)
                }
            }
        }
    }

    @Test(arguments: rules)
    func `every migration ends, within its limits, and each thing done is told`(_ rules: ConvergenceRules) {
        for workload in Workload.all { Self.expectEnd(of: workload, under: rules) }
    }

    private static func expectEnd(of workload: Workload, under rules: ConvergenceRules) {
        let run = workload.run(rules)
        #expect(run.ending != nil, "no end after \(run.passes) passes: \(workload)")
        let ceiling = rules.quicklyFinish ? max(rules.downtimeLimitMS, rules.maxDowntimeMS) : rules.downtimeLimitMS
        #expect(run.limits.first == 30)
        #expect(run.limits == run.limits.sorted() && Set(run.limits).count == run.limits.count)
        #expect(run.limits.allSatisfy { $0 <= ceiling })
        let raises = run.events.filter { $0.reason.code == .downtimeLimit }
        #expect(raises.count == run.limits.count - 1)
        #expect(raises.map(\.numbers["downtimeLimitMS"]) == run.limits.dropFirst().map { $0 })
        switch run.ending {
        case .postCopy: #expect(rules.postCopy && run.events.last?.reason.code == .postCopy)
        case .gaveUp: #expect(!rules.postCopy && run.limits.last == ceiling)
        case .switched, nil: break
        }
    }

    @Test func `an idle guest switches at the first limit, and nothing is told`() {
        let run = Workload(hot: 0, dirtying: 0).run(ConvergenceRules())
        #expect(run.ending == .switched(atLimit: 30) && run.events.isEmpty)
    }

    @Test func `a guest whose hot part fits into the allowed limit is not throttled to the end for it`() {
        // 20 MB are 200 ms: the limit is doubled up to what it takes.
        let run = Workload(hot: 20_000_000, dirtying: 2_000_000_000, isDeaf: true).run(ConvergenceRules(autoConverge: false))
        #expect(run.ending == .switched(atLimit: 240))
        #expect(run.limits == [30, 60, 120, 240])
    }

    @Test func `each step of the throttle is told with its numbers`() {
        let run = Workload(hot: 400_000_000, dirtying: 150_000_000).run(ConvergenceRules())
        let throttles = run.events.filter { $0.reason.code == .throttle }.compactMap { $0.numbers["throttle"] }
        #expect(throttles.first == 20 && throttles == throttles.sorted() && throttles.count >= 3)
        if case .switched = run.ending {} else { Issue.record("throttled by \(throttles), it ended as \(String(describing: run.ending))") }
    }

    @Test func `quickly-finish raises to QEMU's estimate after two more rounds at full throttle, and not before`() throws {
        // 60 MB are 600 ms.
        let workload = Workload(hot: 60_000_000, dirtying: 2_000_000_000, isDeaf: true)
        let run = workload.run(ConvergenceRules(quicklyFinish: true))
        #expect(run.ending == .switched(atLimit: 600) && run.limits.suffix(2) == [300, 600])
        // Both mild means are at their end: the throttle, and the ladder.
        let full = try #require(run.events.first { $0.numbers["throttle"] == 99 && $0.reason.code == .throttle }?.numbers["round"])
        let highest = try #require(run.events.first { $0.numbers["downtimeLimitMS"] == 300 }?.numbers["round"])
        let raise = try #require(run.events.firstIndex { $0.reason.message.hasPrefix("Quickly-finish") })
        #expect(run.events[raise].numbers["round"] == max(full, highest) + 2)
        #expect(run.events[raise].reason.message.contains("from 300 to 600 ms, QEMU's own estimate"))
        #expect(run.events[raise].numbers["expectedDowntimeMS"] == 600)
    }

    @Test func `quickly-finish works without auto-converge: two rounds at the highest limit`() throws {
        let workload = Workload(hot: 60_000_000, dirtying: 2_000_000_000)
        let run = workload.run(ConvergenceRules(quicklyFinish: true, autoConverge: false))
        #expect(run.ending == .switched(atLimit: 600))
        let last = try #require(run.events.last)
        #expect(last.reason.message.contains("auto-converge being off"))
        #expect(!run.events.contains { $0.reason.code == .throttle })
    }

    @Test func `quickly-finish goes no further than its ceiling, and then gives up`() throws {
        // 1 GB hot: ten seconds.
        let run = Workload(hot: 1_000_000_000, dirtying: 2_000_000_000, isDeaf: true).run(
            ConvergenceRules(quicklyFinish: true, maxDowntimeMS: 2500))
        #expect(run.limits.last == 2500)
        guard case .gaveUp(let sentence) = run.ending else {
            Issue.record("\(String(describing: run.ending))")
            return
        }
        #expect(
            sentence.contains("--post-copy") && sentence.contains("a higher --max-downtime-ms") && !sentence.contains("--quickly-finish"))
    }

    @Test func `without quickly-finish it gives up with a sentence that says why and what to try`() {
        let run = Workload(hot: 400_000_000, dirtying: 2_000_000_000, isDeaf: true).run(ConvergenceRules())
        guard case .gaveUp(let sentence) = run.ending else {
            Issue.record("\(String(describing: run.ending))")
            return
        }
        for part in ["2000.0 MB/s", "100.0 MB/s", "99 %", "4000 ms", "300 ms", "--quickly-finish", "--post-copy", "--max-bandwidth-mb"] {
            #expect(sentence.contains(part), "\(part) is missing in: \(sentence)")
        }
    }

    @Test func `post-copy comes after two fruitless rounds at the highest limit, and waits for no throttle`() {
        let run = Workload(hot: 400_000_000, dirtying: 2_000_000_000, isDeaf: true).run(ConvergenceRules(postCopy: true))
        #expect(run.ending == .postCopy && run.limits.last == 300)
        #expect(!run.events.contains { $0.reason.code == .throttle && $0.numbers["throttle"] == 99 })
    }

    @Test func `with quickly-finish post-copy comes after the ceiling`() {
        let run = Workload(hot: 1_000_000_000, dirtying: 2_000_000_000, isDeaf: true).run(
            ConvergenceRules(quicklyFinish: true, maxDowntimeMS: 1000, postCopy: true))
        #expect(run.ending == .postCopy && run.limits.last == 1000)
    }

    @Test func `what is decided is decided once`() {
        var policy = ConvergencePolicy(ConvergenceRules(downtimeLimitMS: 30, autoConverge: false, postCopy: true))
        var starts = 0
        for pass in 1...50 as ClosedRange<Int64> {
            starts += policy.observe(.init(pass: pass, remaining: 1000)).filter { $0 == .startPostCopy }.count
        }
        #expect(starts == 1)
        #expect(policy.change(ConvergenceRules(downtimeLimitMS: 5000)).isEmpty)
    }

    @Test func `many looks into one pass are one`() {
        var policy = ConvergencePolicy(ConvergenceRules())
        _ = policy.observe(.init(pass: 1, remaining: 1000))
        _ = policy.observe(.init(pass: 2, remaining: 500))
        for _ in 0..<100 { #expect(policy.observe(.init(pass: 2, remaining: 900)).isEmpty) }
        #expect(policy.observe(.init(pass: 3, remaining: 500)).isEmpty)
        #expect(policy.observe(.init(pass: 4, remaining: 499)).first == .setDowntimeLimit(60))
    }

    @Test func `passes that went by between two looks are counted`() {
        var policy = ConvergencePolicy(ConvergenceRules())
        _ = policy.observe(.init(pass: 1, remaining: 1000))
        #expect(policy.observe(.init(pass: 4, remaining: 990)).first == .setDowntimeLimit(60))
    }

    @Test func `a limit set by hand stands at once, higher or lower, and is told`() {
        var policy = ConvergencePolicy(ConvergenceRules())
        let raised = policy.change(ConvergenceRules(downtimeLimitMS: 800))
        #expect(raised.first == .setDowntimeLimit(800) && policy.limit == 800 && raised.count == 2)
        #expect(policy.change(ConvergenceRules(downtimeLimitMS: 800)).isEmpty)
        #expect(policy.change(ConvergenceRules(downtimeLimitMS: 50)).first == .setDowntimeLimit(50))
        #expect(policy.limit == 50)
    }

    @Test func `it goes on where an agent that died left it`() throws {
        var policy = ConvergencePolicy(ConvergenceRules(quicklyFinish: true))
        for pass in 1...7 as ClosedRange<Int64> { _ = policy.observe(.init(pass: pass, remaining: 1_000_000, throttle: 20, atMS: pass)) }
        #expect(policy.limit > 30)
        let bytes = try JSONEncoder().encode(policy)
        #expect(try JSONDecoder().decode(ConvergencePolicy.self, from: bytes) == policy)
    }

    @Test func `megabytes are told with one digit`() {
        #expect([0, 49_999, 50_000, 1_000_000, 123_449_999].map(megabytes) == ["0.0", "0.0", "0.1", "1.0", "123.4"])
    }
}
