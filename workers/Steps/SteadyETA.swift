package import Fleet

/// The time left, told so that it never grows: where the rates say that it would, it stands still until they agree again.
package struct SteadyETA {
    /// What was told last, in milliseconds.
    private var told: Int64?
    private var rate: Double?

    /// - Parameter told: what a worker before this one told last.
    package init(told: Int64?) {
        self.told = told
    }

    /// - Parameter memoryBytes: the guest's memory, for the time in which nothing of it is on its way.
    /// - Returns: milliseconds; nil while there is nothing to go by.
    package mutating func next(_ progress: Progress, memoryBytes: Int64) -> Int64? {
        guard let estimate = estimate(progress, memoryBytes: memoryBytes) else { return told }
        let next = told.map { min($0, estimate) } ?? estimate
        told = next
        return next
    }

    private mutating func estimate(_ progress: Progress, memoryBytes: Int64) -> Int64? {
        let disk = max(0, progress.diskTotal - progress.diskDone)
        let isMemoryOnItsWay = progress.memoryTotal > 0
        let memory = isMemoryOnItsWay ? progress.memoryRemaining : memoryBytes
        guard progress.rate > 0 else { return nil }
        // Smoothed, for the rate of one look jumps.
        let smoothed = rate.map { $0 * 0.7 + Double(progress.rate) * 0.3 } ?? Double(progress.rate)
        rate = smoothed
        // What the guest dirties meanwhile has to be sent again.
        let net = isMemoryOnItsWay && disk == 0 ? smoothed - Double(progress.dirtyRate) : smoothed
        guard net > smoothed / 20 else { return nil }
        return Int64(Double(disk + memory) / net * 1000)
    }
}
