/// Where a migration stands. Exactly these seven; rolling back is a ``Direction``, not a state.
package enum MigrationState: String, Sendable, Codable, CaseIterable {
    case pending
    case scheduling
    case syncingDisk = "syncing-disk"
    case syncingMemory = "syncing-memory"
    case switching
    case ready
    case failed

    /// True for `ready` and `failed`: nothing happens to the migration any more.
    package var isFinished: Bool { self == .ready || self == .failed }
}

/// Which way a migration's journal is walked.
package enum Direction: String, Sendable, Codable, CaseIterable {
    case forward
    /// Backwards, each step's compensation in turn.
    case rollback
}
