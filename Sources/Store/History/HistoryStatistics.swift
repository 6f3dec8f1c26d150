import Fleet

/// What finished migrations are counted by.
package enum HistoryDimension: String, Hashable, Sendable, CaseIterable {
    /// Of the end, in UTC, as `2026-11-25`.
    case day
    /// The host that the server left, by name or, where it is gone, id.
    case source
    case target
    case mode
    case state
    /// The reason's code; only of those that failed.
    case reason
}

/// How many finished migrations there are of one kind, and what they took.
package struct HistoryStatistics: Hashable, Sendable {
    /// Percentiles of a figure, by nearest rank, over those that have it.
    package struct Percentiles: Hashable, Sendable {
        package var p50: Int64
        package var p95: Int64
        package var p99: Int64

        package init(p50: Int64, p95: Int64, p99: Int64) {
            self.p50 = p50
            self.p95 = p95
            self.p99 = p99
        }
    }

    /// By the dimensions asked for, in their order; nil where a migration has none.
    package var key: [String?]
    package var count: Int
    package var ready: Int
    package var failed: Int
    /// Milliseconds from the submit to the end; nil where none of them was ready, as in the two that follow.
    package var totalMS: Percentiles?
    /// Microseconds.
    package var blackoutUS: Percentiles?
    /// Bytes of disk and memory that were moved.
    package var bytes: Percentiles?

    package init(
        key: [String?], count: Int, ready: Int, failed: Int, totalMS: Percentiles? = nil, blackoutUS: Percentiles? = nil,
        bytes: Percentiles? = nil
    ) {
        self.key = key
        self.count = count
        self.ready = ready
        self.failed = failed
        self.totalMS = totalMS
        self.blackoutUS = blackoutUS
        self.bytes = bytes
    }
}
