/// One bandwidth for all that share it: a bucket that fills at the rate, and that what is fetched is taken from.
package actor Budget {
    private var rate: Int64?
    /// May be below zero: then those that come next wait until it has filled again.
    private var tokens: Double = 0
    private var filled = ContinuousClock.now

    /// - Parameter rate: bytes a second; nil is without limit.
    package init(_ rate: Int64?) {
        self.rate = rate
    }

    /// Holds for whoever comes next; whoever waits already waits at most a fifth of a second longer by the old rate.
    package func set(_ rate: Int64?) {
        fill()
        self.rate = rate
    }

    private func fill() {
        let now = ContinuousClock.now
        defer { filled = now }
        guard let rate else {
            tokens = 0
            return
        }
        let seconds = filled.duration(to: now) / .seconds(1)
        // What was not used for a tenth of a second is lost, so that a pause is not followed by a burst.
        tokens = min(Double(rate) / 10, tokens + Double(rate) * seconds)
    }

    /// Waits until so many bytes may be fetched. Returns at once when the task is cancelled, which the caller looks for.
    package func take(_ bytes: Int) async {
        fill()
        guard rate != nil else { return }
        tokens -= Double(bytes)
        while !Task.isCancelled {
            fill()
            guard let rate, tokens < 0 else { return }
            let wait = min(0.2, -tokens / Double(max(1, rate)))
            // A rate is a wait by the clock; who cancels ends the loop.
            try? await Task.sleep(for: .seconds(wait))
        }
    }
}
