import Fleet

/// How long to wait before another try: twice as long each time up to a bound, of which half is left to chance so that many that
/// failed together do not come back together.
package struct Backoff: Hashable, Sendable {
    package var base: Duration
    package var cap: Duration

    package init(base: Duration, cap: Duration) {
        self.base = base
        self.cap = cap
    }

    /// The wait after so many tries (from 1): between half of and the whole of `base · 2^(tries-1)`, at most `cap`.
    package func delay(after tries: Int, using random: inout some RandomNumberGenerator) -> Duration {
        let whole = ceiling(after: tries)
        return whole / 2 + whole / 2 * Double.random(in: 0...1, using: &random)
    }

    /// The same with the system's randomness.
    package func delay(after tries: Int) -> Duration {
        var random = Chance()
        return delay(after: tries, using: &random)
    }

    /// The longest that ``delay(after:using:)`` can be.
    package func ceiling(after tries: Int) -> Duration {
        // Beyond 2^40 any base is over any cap; the shift must not overflow.
        min(cap, base * (1 << min(max(0, tries - 1), 40)))
    }
}
