/// What the store says of the whole fleet at one moment of its own clock.
package struct StoreBooks: Hashable, Sendable {
    /// Who holds a migration, and until when.
    package struct Lease: Hashable, Sendable {
        package var owner: String
        package var until: Timestamp

        package init(owner: String, until: Timestamp) {
            self.owner = owner
            self.until = until
        }
    }

    package var now: Timestamp
    package var hosts: [Host]
    package var servers: [Server]
    /// Those that are not finished.
    package var migrations: [Migration]
    /// Of those that somebody holds, or held until his lease ended.
    package var leases: [MigrationID: Lease]
    /// When the history of those that await something grew last.
    package var lastChanges: [MigrationID: Timestamp]
    /// Those still to be done.
    package var cleanups: [Cleanup]
    /// Migrations that are finished or gone and still hold room, each with the host.
    package var leaked: [MigrationID: HostID]
    /// Finished ones that were asked for.
    package var finished: [MigrationID: Migration]

    package init(
        now: Timestamp, hosts: [Host] = [], servers: [Server] = [], migrations: [Migration] = [], leases: [MigrationID: Lease] = [:],
        lastChanges: [MigrationID: Timestamp] = [:], cleanups: [Cleanup] = [], leaked: [MigrationID: HostID] = [:],
        finished: [MigrationID: Migration] = [:]
    ) {
        self.now = now
        self.hosts = hosts
        self.servers = servers
        self.migrations = migrations
        self.leases = leases
        self.lastChanges = lastChanges
        self.cleanups = cleanups
        self.leaked = leaked
        self.finished = finished
    }
}
