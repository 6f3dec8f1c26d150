package import Fleet

/// Which rows of the history a question is about.
package struct HistoryFilter: Hashable, Sendable {
    package var server: ServerID?
    /// As source or target.
    package var host: HostID?
    package var migration: MigrationID?
    package var batch: BatchID?
    /// The states that rows lead to.
    package var states: Set<MigrationState>?
    package var modes: Set<Mode>?
    /// Codes of reasons.
    package var reasons: Set<Reason.Code>?
    /// Who did it: a worker or a person.
    package var actor: String?
    /// From then on, and before then.
    package var since: Timestamp?
    package var until: Timestamp?

    package init(
        server: ServerID? = nil, host: HostID? = nil, migration: MigrationID? = nil, batch: BatchID? = nil,
        states: Set<MigrationState>? = nil, modes: Set<Mode>? = nil, reasons: Set<Reason.Code>? = nil, actor: String? = nil,
        since: Timestamp? = nil, until: Timestamp? = nil
    ) {
        self.server = server
        self.host = host
        self.migration = migration
        self.batch = batch
        self.states = states
        self.modes = modes
        self.reasons = reasons
        self.actor = actor
        self.since = since
        self.until = until
    }
}
