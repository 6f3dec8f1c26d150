import Fleet

/// How long nothing has moved, as a step's reports show it.
struct StallWatch: Hashable, Sendable {
    /// What counts at most between two reports: an agent that does not answer says nothing about its streams.
    static let gap = Duration.seconds(3)

    private struct Sample: Hashable {
        var moved: Int64
        var activity: Int64
        var at: Duration
    }

    private var last: Sample?
    private var still = Duration.zero

    /// - Returns: for how long nothing has moved now.
    mutating func saw(_ progress: Progress, activity: Int64, at now: Duration) -> Duration {
        let moved = progress.diskDone + progress.memoryTransferred
        if let last, last.moved == moved, last.activity == activity {
            still += min(max(.zero, now - last.at), Self.gap)
        } else {
            still = .zero
        }
        last = Sample(moved: moved, activity: activity, at: now)
        return still
    }
}
