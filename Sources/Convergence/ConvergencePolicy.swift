package import Fleet

/// What is done when a guest dirties its memory as fast as that can be sent: a value, told what QEMU says, that says what to do.
///
/// 1. The downtime limit begins at 30 ms and doubles, up to ``ConvergenceRules/downtimeLimitMS``, each time two passes left no less to
///    send than the best one before them: the limit is the blackout of a busy guest.
/// 2. Meanwhile QEMU slows the guest down by itself (auto-converge); each step of that is told.
/// 3. At the highest limit and full throttle all mild means are at their end. (Without auto-converge the highest limit is enough. And a
///    throttle that stands still for twelve fruitless passes counts as full: QEMU sees no need for more of it.)
/// 4. Quickly-finish then raises the limit to QEMU's own estimate of the downtime, two passes after that end and again after each two, up
///    to ``ConvergenceRules/maxDowntimeMS``.
/// 5. With post-copy the target runs the guest and fetches the rest: after two fruitless passes at the highest limit, or at the ceiling of
///    quickly-finish; no throttle is waited for.
/// 6. Else it is given up, once eight passes and 30 s after the end of all means have brought nothing.
package struct ConvergencePolicy: Hashable, Sendable, Codable {
    /// What QEMU says of memory on its way.
    package struct Sight: Hashable, Sendable {
        /// Passes over memory begun (QAPI `dirty-sync-count`).
        package var pass: Int64
        /// Bytes left to send in this pass.
        package var remaining: Int64
        /// Bytes a second that the guest dirties, and that get through.
        package var dirtyRate: Int64
        package var rate: Int64
        /// Per cent of its time that is taken from the guest.
        package var throttle: Int64
        /// How long QEMU thinks the guest would stand still if it were stopped now.
        package var expectedDowntimeMS: Int64?
        /// Now, in milliseconds, on a clock that only grows while the host is up.
        package var atMS: Int64

        package init(
            pass: Int64, remaining: Int64, dirtyRate: Int64 = 0, rate: Int64 = 0, throttle: Int64 = 0, expectedDowntimeMS: Int64? = nil,
            atMS: Int64 = 0
        ) {
            self.pass = pass
            self.remaining = remaining
            self.dirtyRate = dirtyRate
            self.rate = rate
            self.throttle = throttle
            self.expectedDowntimeMS = expectedDowntimeMS
            self.atMS = atMS
        }
    }

    package enum Action: Hashable, Sendable {
        /// In milliseconds.
        case setDowntimeLimit(Int64)
        case startPostCopy
        /// Turn back, for this reason: `did-not-converge`.
        case giveUp(Reason)
        /// Have it in the history.
        case tell(PolicyEvent)
    }

    static let firstLimit: Int64 = 30
    /// QEMU's `max-cpu-throttle`, which we leave at its default.
    static let fullThrottle: Int64 = 99
    static let fruitlessBeforeRaise: Int64 = 2
    static let fruitlessBeforePostCopy: Int64 = 2
    static let passesBeforeQuickRaise: Int64 = 2
    static let fruitlessThatCountAsFull: Int64 = 12
    static let passesBeforeGivingUp: Int64 = 8
    static let fruitlessBeforeGivingUp: Int64 = 4
    static let timeBeforeGivingUpMS: Int64 = 30_000

    /// The downtime limit that stands, in milliseconds.
    package private(set) var limit: Int64
    package private(set) var rules: ConvergenceRules
    private var pass: Int64 = 0
    /// The least that was left at the beginning of a pass.
    private var best: Int64?
    /// Passes since then that left no less by a twentieth.
    private var fruitless: Int64 = 0
    private var throttle: Int64 = 0
    /// Where all mild means came to their end, or the last raise beyond them.
    private var end: End?
    private var isDecided = false

    private struct End: Hashable, Codable {
        var pass: Int64
        var atMS: Int64
    }

    package init(_ rules: ConvergenceRules) {
        self.rules = rules
        limit = min(Self.firstLimit, max(1, rules.downtimeLimitMS))
    }

    private var highest: Int64 { max(1, rules.downtimeLimitMS) }
    private var ceiling: Int64 { rules.quicklyFinish ? max(highest, rules.maxDowntimeMS) : highest }

    /// How auto-converge slows down: per cent at first, and more at each step. Quickly-finish loses no time.
    package static func throttleSteps(_ rules: ConvergenceRules) -> (initial: Int64, increment: Int64) {
        rules.quicklyFinish ? (50, 20) : (20, 10)
    }

    /// What to say when memory begins.
    package var opening: PolicyEvent {
        PolicyEvent(
            .downtimeLimit, "The downtime limit begins at \(limit) ms, and is raised to \(highest) ms at most.",
            numbers: ["downtimeLimitMS": limit, "highestMS": highest])
    }

    /// Takes other rules. A limit that somebody set by hand is no bound to climb to: it stands at once.
    package mutating func change(_ rules: ConvergenceRules) -> [Action] {
        let before = self.rules
        self.rules = rules
        guard !isDecided, rules.downtimeLimitMS != before.downtimeLimitMS, limit != highest else { return [] }
        return set(highest, "The downtime limit is \(highest) ms from now on, as asked.", ["downtimeLimitMS": highest])
    }

    package mutating func observe(_ sight: Sight) -> [Action] {
        guard !isDecided else { return [] }
        var actions: [Action] = []
        if sight.throttle != throttle {
            throttle = sight.throttle
            actions.append(.tell(throttled(sight)))
        }
        guard sight.pass > pass else { return actions }
        count(sight)
        guard pass > 1 else { return actions }
        actions += decide(sight)
        return actions
    }

    private mutating func count(_ sight: Sight) {
        let passes = sight.pass - pass
        pass = sight.pass
        if let best, sight.remaining >= best - best / 20 {
            fruitless += passes
        } else {
            best = sight.remaining
            fruitless = 0
        }
        markEnd(sight)
    }

    private mutating func markEnd(_ sight: Sight) {
        let isFull = !rules.autoConverge || throttle >= Self.fullThrottle || fruitless >= Self.fruitlessThatCountAsFull
        if limit < highest {
            end = nil
        } else if end == nil, isFull {
            end = End(pass: pass, atMS: sight.atMS)
        }
    }

    private mutating func decide(_ sight: Sight) -> [Action] {
        if limit < highest {
            guard fruitless >= Self.fruitlessBeforeRaise else { return [] }
            let next = min(limit * 2, highest)
            let from = limit
            let actions = set(
                next, "The downtime limit is raised from \(from) to \(next) ms: \(found(sight)).", numbers(sight, limit: next))
            markEnd(sight)
            return actions
        }
        if rules.quicklyFinish, limit < ceiling {
            guard let end, pass - end.pass >= Self.passesBeforeQuickRaise else { return [] }
            return raiseToEstimate(sight)
        }
        if rules.postCopy {
            guard fruitless >= Self.fruitlessBeforePostCopy else { return [] }
            isDecided = true
            let why = PolicyEvent(
                .postCopy,
                "Memory did not converge within \(limit) ms: \(found(sight)). The target is to run the guest and fetch the rest.",
                numbers: numbers(sight, limit: limit))
            return [.tell(why), .startPostCopy]
        }
        guard let end, pass - end.pass >= Self.passesBeforeGivingUp, sight.atMS - end.atMS >= Self.timeBeforeGivingUpMS,
            fruitless >= Self.fruitlessBeforeGivingUp
        else { return [] }
        isDecided = true
        return [.giveUp(Reason(.didNotConverge, defeat(sight)))]
    }

    private mutating func raiseToEstimate(_ sight: Sight) -> [Action] {
        let estimate = sight.expectedDowntimeMS ?? 0
        // An estimate that the limit allows already, and that did not come true, helps nobody.
        let wanted = estimate > limit + limit / 20 ? estimate : limit + limit / 2
        let next = min(wanted, ceiling)
        let source = next == estimate ? "QEMU's own estimate" : next == ceiling ? "as far as quickly-finish may" : "half as much again"
        return set(
            next,
            "Quickly-finish raises the downtime limit from \(limit) to \(next) ms, \(source): \(found(sight)), \(means).",
            numbers(sight, limit: next))
    }

    private mutating func set(_ next: Int64, _ message: String, _ numbers: [String: Int64]) -> [Action] {
        limit = next
        fruitless = 0
        // The count of passes begins anew; the mild means are at their end all the same.
        end = end.map { End(pass: pass, atMS: $0.atMS) }
        return [.setDowntimeLimit(next), .tell(PolicyEvent(.downtimeLimit, message, numbers: numbers))]
    }

    // MARK: sentences

    private func numbers(_ sight: Sight, limit: Int64) -> [String: Int64] {
        var numbers = [
            "downtimeLimitMS": limit, "round": sight.pass, "remainingBytes": sight.remaining, "dirtyRate": sight.dirtyRate,
            "rate": sight.rate, "throttle": sight.throttle,
        ]
        numbers["expectedDowntimeMS"] = sight.expectedDowntimeMS
        return numbers
    }

    private func throttled(_ sight: Sight) -> PolicyEvent {
        PolicyEvent(
            .throttle,
            sight.throttle == 0
                ? "Auto-converge lets the guest run freely again (round \(sight.pass))."
                : "Auto-converge takes \(sight.throttle) % of the guest's time: \(rates(sight)) (round \(sight.pass)).",
            numbers: numbers(sight, limit: limit))
    }

    private func found(_ sight: Sight) -> String {
        "in round \(sight.pass) there were \(megabytes(sight.remaining)) MB left, while \(rates(sight))"
    }

    private func rates(_ sight: Sight) -> String {
        "the guest dirties \(megabytes(sight.dirtyRate)) MB/s and \(megabytes(sight.rate)) MB/s get through"
    }

    private var means: String {
        rules.autoConverge ? "the guest throttled by \(throttle) %" : "auto-converge being off"
    }

    private func defeat(_ sight: Sight) -> String {
        var tries: [String] = []
        if !rules.quicklyFinish { tries.append("--quickly-finish (a longer blackout, up to --max-downtime-ms)") }
        if rules.quicklyFinish { tries.append("a higher --max-downtime-ms") }
        if !rules.autoConverge { tries.append("auto-converge, which is off") }
        tries.append("--post-copy (the target runs the guest at once and fetches the rest)")
        tries.append("or more bandwidth (--max-bandwidth-mb)")
        let last = sight.expectedDowntimeMS.map { ", so that the last pass would take \($0) ms" } ?? ""
        return
            "Memory did not converge in \(sight.pass) rounds: \(rates(sight)), \(means)\(last); \(limit) ms are allowed. Try \(tries.joined(separator: ", "))."
    }
}

/// 10⁶ bytes, with one digit after the point.
func megabytes(_ bytes: Int64) -> String {
    let tenths = (bytes + 50_000) / 100_000
    return "\(tenths / 10).\(tenths % 10)"
}
