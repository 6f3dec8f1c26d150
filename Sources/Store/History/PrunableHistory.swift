package import Fleet

/// The history of a finished migration as it may be archived and then pruned.
package struct PrunableHistory: Hashable, Sendable {
    package var migration: MigrationID
    package var rows: Int
    /// Of its last row.
    package var lastSequence: Int64

    package init(migration: MigrationID, rows: Int, lastSequence: Int64) {
        self.migration = migration
        self.rows = rows
        self.lastSequence = lastSequence
    }
}

/// Whose history may go.
package enum Retention: Hashable, Sendable {
    /// Of those that finished before then.
    case finishedBefore(Timestamp)
    /// Of all but so many that finished last.
    case keeping(Int)
}
