package import Fleet

/// What one write of a worker to a migration changes, all of it together or nothing (rule 3): the row under its epoch, journal,
/// history, reservation, placement, cleanups, the server's status.
package struct MigrationChange: Sendable {
    /// The row as it shall be; written `WHERE id = … AND epoch = …` with the lease still this worker's.
    ///
    /// Not taken from it: who it is of and from where; the epoch; `options` and `cancelRequested`, which others set meanwhile; `deadlineAt`;
    /// `finishedAt`, which is the store's clock at the end. A `progress` of nil keeps what was recorded last, unless another attempt begins.
    package var migration: Migration
    /// Inserted or replaced by (migration, attempt, step).
    package var journal: [JournalEntry] = []
    /// A history row is written when this is set; a change of state needs one.
    package var history: HistoryNote?
    /// Further rows, after that one: what an operator should know.
    package var notes: [HistoryNote] = []
    /// Takes this reservation, checked against the host's room. Throws `overbooked`.
    package var reserve: Reservation?
    /// Lets go of the migration's reservation. The end of the migration does so too.
    package var release = false
    /// The server is on this host from now on. Only where the migration holds a reservation.
    package var placement: HostID?
    package var cleanups: [Cleanup] = []
    /// Must be set, unless it was before, to something else than a migration's statuses when the migration ends. `starting` begins that
    /// operation, which a controller then sees through.
    package var serverStatus: ServerStatus?
    /// Set together with the status: nil takes an older note away.
    package var serverNote: Reason?
    /// Gives the lease back: the migration finished, or is to be claimed again when due.
    package var releaseLease = false
    /// Due so many milliseconds from the store's now, in place of the row's `dueAt`, which is some worker's clock.
    package var dueInMS: Int64?
    /// The attempt's completion deadline, so many milliseconds from the store's now, unless it has one. It goes with the attempt.
    package var deadlineInMS: Int64?

    package struct HistoryNote: Sendable {
        package var from: MigrationState?
        package var actor: String
        package var step: String?
        package var reason: Reason?
        package var numbers: [String: Int64]
        package init(from: MigrationState?, actor: String, step: String? = nil, reason: Reason? = nil, numbers: [String: Int64] = [:]) {
            self.from = from
            self.actor = actor
            self.step = step
            self.reason = reason
            self.numbers = numbers
        }
    }

    package init(_ migration: Migration) {
        self.migration = migration
    }
}
