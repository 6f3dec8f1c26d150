import Convergence
package import Fleet

/// What a migration will take, computed from what was measured before it. A pure function of its ``Input``.
///
/// **Disks.** Every byte that the files of local disks hold travels once, at the rate to count on (``rate(rehearsed:seen:)``), or the
/// bandwidth asked for where that is less; what the guest writes meanwhile is not counted.
///
/// **Memory.** The model is QEMU's own loop. The first round sends all memory that is not zero, and looks through the rest. While a round of
/// length *t* sends, the guest dirties *D(t)*, the next round's work. *D* is the measured curve: how much of memory is another after a tenth
/// of a second, three tenths, one second, two; between two points a straight line, beyond the last one at the last slope, and never more
/// than all memory. It bends down where a guest writes the same pages again and again, which is why such a guest converges where its
/// "dirty rate" alone says that it would not. A round whose work takes no longer than the downtime limit is the last one: it is sent while
/// the guest stands still. What is done about a guest that dirties too fast, and when it is given up, is asked of the agent's own
/// ``ConvergencePolicy``, round by round. With auto-converge the guest is slowed down as QEMU does it: when for the second time a period of at
/// least a second has dirtied more than half of what it sent, by a first step and then by more each time, up to 99 per cent; slowed down by
/// *p* it dirties *D(t(1-p))*.
///
/// It does not converge when the policy gives up, or when no round has been a last one by the attempt's deadline.
package struct Forecast: Hashable, Sendable, Codable {
    package struct Input: Hashable, Sendable {
        package var mode: Mode
        package var options: MigrationOptions
        /// Bytes that the files of local disks hold.
        package var diskBytes: Int64
        /// RAM, of what is not zero, and how it is dirtied; all empty for a server that is off.
        package var memoryBytes: Int64
        package var memoryUsedBytes: Int64
        package var dirtied: [DirtyWindow]
        /// Bytes a second that a stream of memory, and one of disks, was seen to reach.
        package var memoryRate: Int64
        package var diskRate: Int64
        /// What everything takes that does not grow with the bytes, before and after the streams; milliseconds.
        package var overheadMS: Int64
        /// What the guest stands still beside the last pass, milliseconds.
        package var switchMS: Int64
        /// Bytes that the deadline is computed for: disks and memory as large as they can be.
        package var largestBytes: Int64

        package init(
            mode: Mode, options: MigrationOptions, diskBytes: Int64, memoryBytes: Int64 = 0, memoryUsedBytes: Int64 = 0,
            dirtied: [DirtyWindow] = [], memoryRate: Int64, diskRate: Int64, overheadMS: Int64 = Forecast.usualOverheadMS,
            switchMS: Int64 = Forecast.usualSwitchMS, largestBytes: Int64
        ) {
            self.mode = mode
            self.options = options
            self.diskBytes = diskBytes
            self.memoryBytes = memoryBytes
            self.memoryUsedBytes = memoryUsedBytes
            self.dirtied = dirtied
            self.memoryRate = memoryRate
            self.diskRate = diskRate
            self.overheadMS = overheadMS
            self.switchMS = switchMS
            self.largestBytes = largestBytes
        }
    }

    /// Sent in all, rounds beyond the first included.
    package var diskBytes: Int64
    package var memoryBytes: Int64
    package var diskMS: Int64
    package var memoryMS: Int64
    /// From its acceptance to `ready`.
    package var totalMS: Int64
    /// Rounds over memory, the last one included.
    package var rounds: Int
    package var blackoutMS: Int64
    package var converges: Bool
    /// Per cent of its time that auto-converge takes from the guest at the end; 0 when it need not.
    package var throttlePercent: Int
    /// What the downtime limit is raised to until then.
    package var downtimeLimitMS: Int64
    /// Bytes a second that were counted on.
    package var memoryRate: Int64
    package var diskRate: Int64

    /// What is counted on as long as no migration has told better.
    package static let usualOverheadMS: Int64 = 700
    package static let usualSwitchMS: Int64 = 60

    /// The rate to count on, in bytes a second; nil when neither is known.
    ///
    /// Earlier migrations tell of all that a stream meets beside a guest that runs: QEMU's own work, the guest's faults on pages that are
    /// watched, processors that both want. A rehearsal meets none of that and is too fast by far (measured under TCG: four times), so it is
    /// counted on only where nothing has gone this way yet, or where the way is slower now than what went.
    package static func rate(rehearsed: Int64?, seen: Int64?) -> Int64? {
        guard let seen, seen > 0 else { return rehearsed }
        guard let rehearsed, rehearsed > 0 else { return seen }
        return min(rehearsed, seen)
    }

    /// Of the bandwidth asked for, what memory gets while disks are kept in step.
    package static let memoryShare = 0.98
    /// Of its bandwidth, what QEMU makes use of: it sends for a part of each tenth of a second and sleeps for the rest, somewhat too long
    /// (measured with QEMU 7.2 on a busy host: 0.85 to 1.0).
    package static let limiterShare = 0.94
    /// The shortest round there is: QEMU sends for 50 ms between two looks.
    private static let shortestRoundMS = 50.0

    package init(_ input: Input) {
        let hasDisks = input.diskBytes > 0
        let budget = input.options.maxBandwidthMB.map { Double($0) * 1e6 }
        let diskRate = max(1, min(Double(input.diskRate), budget ?? .infinity))
        let allowed = budget.map { $0 * (hasDisks ? Self.memoryShare : 1) * Self.limiterShare } ?? .infinity
        let memoryRate = max(1, min(Double(input.memoryRate), allowed))
        self.diskRate = Int64(diskRate)
        self.memoryRate = Int64(memoryRate)
        diskBytes = input.mode == .rescue ? 0 : input.diskBytes
        diskMS = Int64(Double(diskBytes) / diskRate * 1000)
        memoryBytes = 0
        memoryMS = 0
        rounds = 0
        blackoutMS = 0
        converges = true
        throttlePercent = 0
        downtimeLimitMS = 0
        guard input.mode == .live else {
            totalMS = input.overheadMS + diskMS
            return
        }
        let deadlineMS = Double(CompletionDeadline.seconds(for: input.options, bytes: input.largestBytes)) * 1000
        var passes = Passes(input, rate: memoryRate, until: deadlineMS - Double(diskMS))
        passes.run()
        memoryBytes = Int64(passes.sent)
        memoryMS = Int64(passes.elapsedMS)
        rounds = passes.rounds
        converges = passes.isDone
        throttlePercent = Int(passes.throttle)
        downtimeLimitMS = passes.limitMS
        blackoutMS = input.switchMS + Int64(passes.lastPassMS)
        totalMS = input.overheadMS + diskMS + memoryMS + blackoutMS
    }

    /// The rounds over memory.
    private struct Passes {
        private let curve: DirtyCurve
        private let rules: ConvergenceRules
        private let rate: Double
        private let deadlineMS: Double
        private let zeroMS: Double
        private var left: Double
        private var policy: ConvergencePolicy

        var sent = 0.0
        var elapsedMS = 0.0
        var rounds = 0
        var throttle = 0.0
        var lastPassMS = 0.0
        var isDone = false
        var limitMS: Int64 { policy.limit }

        private var isHigh = 0
        private var periodMS = 0.0
        private var periodSent = 0.0
        private var periodDirtied = 0.0

        init(_ input: Input, rate: Double, until deadlineMS: Double) {
            curve = DirtyCurve(input.dirtied, memoryBytes: input.memoryBytes)
            rules = ConvergenceRules(input.options)
            policy = ConvergencePolicy(rules)
            self.rate = rate
            self.deadlineMS = deadlineMS
            left = Double(input.memoryUsedBytes)
            zeroMS = Double(max(0, input.memoryBytes - input.memoryUsedBytes)) / Progress.zeroRate * 1000
        }

        mutating func run() {
            _ = policy.observe(sight(dirtyRate: 0))
            while elapsedMS < deadlineMS {
                rounds += 1
                let roundMS = max(Forecast.shortestRoundMS, left / rate * 1000 + (rounds == 1 ? zeroMS : 0))
                sent += left
                elapsedMS += roundMS
                let dirtied = curve.bytes(after: roundMS * (1 - throttle / 100))
                slowDown(roundMS, sent: left, dirtied: dirtied)
                left = dirtied
                for action in policy.observe(sight(dirtyRate: dirtied / roundMS * 1000)) {
                    switch action {
                    case .giveUp: return
                    case .startPostCopy: return switchToPostCopy()
                    case .setDowntimeLimit, .tell: continue
                    }
                }
                if left / rate * 1000 <= Double(policy.limit), elapsedMS < deadlineMS { return stop() }
            }
        }

        private func sight(dirtyRate: Double) -> ConvergencePolicy.Sight {
            ConvergencePolicy.Sight(
                pass: Int64(rounds + 1), remaining: Int64(left), dirtyRate: Int64(dirtyRate), rate: Int64(rate), throttle: Int64(throttle),
                expectedDowntimeMS: Int64(left / rate * 1000) + 1, atMS: Int64(elapsedMS))
        }

        /// The last round.
        private mutating func stop() {
            rounds += 1
            sent += left
            lastPassMS = left / rate * 1000
            isDone = true
        }

        /// The guest runs on the target and what is left follows.
        private mutating func switchToPostCopy() {
            rounds += 1
            sent += left
            elapsedMS += left / rate * 1000
            isDone = true
        }

        /// QEMU's `migration_trigger_throttle`, at the end of a period of at least a second.
        private mutating func slowDown(_ roundMS: Double, sent: Double, dirtied: Double) {
            periodMS += roundMS
            periodSent += sent
            periodDirtied += dirtied
            guard periodMS >= 1000 else { return }
            if rules.autoConverge, periodDirtied > periodSent / 2 {
                isHigh += 1
                if isHigh >= 2 {
                    isHigh = 0
                    let steps = ConvergencePolicy.throttleSteps(rules)
                    throttle = throttle == 0 ? Double(steps.initial) : min(99, throttle + Double(steps.increment))
                }
            }
            (periodMS, periodSent, periodDirtied) = (0, 0, 0)
        }
    }
}

/// How much of a guest's memory is another after some time.
struct DirtyCurve {
    private let points: [(ms: Double, bytes: Double)]
    private let most: Double

    init(_ windows: [DirtyWindow], memoryBytes: Int64) {
        most = Double(memoryBytes)
        var points: [(ms: Double, bytes: Double)] = [(0, 0)]
        for window in windows.sorted(by: { $0.milliseconds < $1.milliseconds }) where window.milliseconds > 0 {
            // Samples vary; what was dirtied stays so.
            points.append((Double(window.milliseconds), max(points[points.count - 1].bytes, Double(window.bytes))))
        }
        self.points = points
    }

    func bytes(after ms: Double) -> Double {
        guard points.count > 1, ms > 0 else { return 0 }
        let next = points.firstIndex { $0.ms >= ms } ?? points.count - 1
        let (from, to) = (points[next - 1], points[next])
        let slope = to.ms > from.ms ? (to.bytes - from.bytes) / (to.ms - from.ms) : 0
        return min(most, from.bytes + slope * (ms - from.ms))
    }
}
