package import Fleet

/// Something in the history of a migration that is not as it was written.
package struct HistoryFlaw: Hashable, Sendable {
    package enum Kind: String, Hashable, Sendable {
        /// The row says something else than when it was written, or one before it is missing.
        case altered
        /// Rows at the end, or all of them, are missing.
        case missing
        /// There are rows that the migration's head does not know: it was altered, or is missing itself.
        case unknown
        /// The last change of state is not the one that the migration is in.
        case contradicted
    }

    package var migration: MigrationID
    package var kind: Kind
    /// The row; nil where it is none.
    package var sequence: Int64?
    /// For a person.
    package var message: String

    package init(migration: MigrationID, kind: Kind, sequence: Int64? = nil, message: String) {
        self.migration = migration
        self.kind = kind
        self.sequence = sequence
        self.message = message
    }
}

/// What a look through the history came to.
package struct HistoryVerification: Hashable, Sendable {
    package var migrations = 0
    package var rows = 0
    /// Rows that were archived and taken away, as the marks in their places tell.
    package var pruned = 0
    /// Rows from before there were hashes, which prove nothing.
    package var unproven = 0
    package var flaws: [HistoryFlaw] = []

    package init(migrations: Int = 0, rows: Int = 0, pruned: Int = 0, unproven: Int = 0, flaws: [HistoryFlaw] = []) {
        self.migrations = migrations
        self.rows = rows
        self.pruned = pruned
        self.unproven = unproven
        self.flaws = flaws
    }
}
