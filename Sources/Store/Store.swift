package import Fleet
package import SQL

/// Every table and every query of Godwit, over either engine. All state that must survive a process is here and nowhere else.
package struct Store: Sendable {
    package let database: any SQLDatabase

    /// Opens the store: creates the schema in an empty database, brings an older one up to date in one transaction.
    ///
    /// - Throws: ``StoreError`` `incompatible` for a database of a newer version or of something else.
    package init(_ database: any SQLDatabase) async throws {
        self.database = database
        fatalError("skeleton")
    }

    /// See ``SQLDatabase/changes()``.
    package func changes() -> AsyncStream<Void> { database.changes() }
}

// MARK: hosts

extension Store {
    /// Adds a host, or moves the host of that name to another agent address.
    package func registerHost(name: String, agentURL: String) async throws -> Host { fatalError("skeleton") }
    package func hosts() async throws -> [Host] { fatalError("skeleton") }
    /// By id or name. Throws `notFound`.
    package func host(_ reference: String) async throws -> Host { fatalError("skeleton") }
    package func setHostEnabled(_ host: HostID, _ enabled: Bool) async throws -> Host { fatalError("skeleton") }
    /// What an agent just told, and how long (milliseconds from the store's now) it proves the host alive.
    package func recordHealth(of host: HostID, facts: HostFacts, validForMS: Int64) async throws { fatalError("skeleton") }
    /// All hosts with what is promised of each: the input of placement, in one consistent view.
    package func hostLoads() async throws -> [HostLoad] { fatalError("skeleton") }
}

// MARK: servers

/// Which servers a list shows.
package struct ServerFilter: Sendable {
    /// Part of a name or id.
    package var search: String?
    package var host: HostID?
    package var status: ServerStatus?
    package init(search: String? = nil, host: HostID? = nil, status: ServerStatus? = nil) {
        self.search = search
        self.host = host
        self.status = status
    }
}

extension Store {
    /// Inserts a server in `deploying` under its first epoch, with the operation held by `owner`.
    /// Throws `nameTaken`, `overbooked`.
    package func createServer(_ server: Server, owner: String, leaseMS: Int64) async throws -> Server { fatalError("skeleton") }
    package func servers(_ filter: ServerFilter) async throws -> [Server] { fatalError("skeleton") }
    /// By id or unique name. Throws `notFound`.
    package func server(_ reference: String) async throws -> Server { fatalError("skeleton") }

    /// Takes the server into an operation's status (`starting`, `stopping`, `deleting`) from one of `from`, raising its epoch, held by `owner`.
    /// Throws `busy` when it has an unfinished migration or an operation that another still holds, `wrongStatus`.
    package func beginOperation(
        _ server: ServerID, _ status: ServerStatus, from: Set<ServerStatus>, owner: String, leaseMS: Int64
    ) async throws -> Server { fatalError("skeleton") }
    /// Operations whose holder died (its lease ended): taken over, each under a raised epoch.
    package func claimOperations(owner: String, leaseMS: Int64, limit: Int) async throws -> [Server] { fatalError("skeleton") }
    /// Ends an operation: the server's status, and a note where it went wrong. Throws `superseded`.
    package func finishOperation(_ server: ServerID, epoch: Epoch, status: ServerStatus, note: Reason?) async throws { fatalError("skeleton") }
    /// Ends `deleting` or a failed `deploying`: the server's row goes; migrations and history stay. Throws `superseded`.
    package func removeServer(_ server: ServerID, epoch: Epoch) async throws { fatalError("skeleton") }
    /// Corrects `running`/`ready` after what an agent saw (guest powered itself off); changes nothing while a migration or an operation is under way.
    package func observeGuest(_ server: ServerID, epoch: Epoch, status: ServerStatus, note: Reason?) async throws { fatalError("skeleton") }
}

// MARK: migrations

/// Which migrations a list shows, newest first.
package struct MigrationFilter: Sendable {
    package var server: ServerID?
    /// As source or target.
    package var host: HostID?
    package var states: Set<MigrationState>?
    package var limit: Int
    /// Only those older than this one (keyset page).
    package var before: MigrationID?
    package init(server: ServerID? = nil, host: HostID? = nil, states: Set<MigrationState>? = nil, limit: Int = 20, before: MigrationID? = nil) {
        self.server = server
        self.host = host
        self.states = states
        self.limit = limit
        self.before = before
    }
}

/// What one write of a worker to a migration changes, all of it together or nothing (rule 3): the row under its epoch, journal,
/// history, reservation, placement, cleanups, the server's status.
package struct MigrationChange: Sendable {
    /// The row as it shall be; written `WHERE id = … AND epoch = …` with the lease still this worker's.
    package var migration: Migration
    /// Inserted or replaced by (migration, attempt, step).
    package var journal: [JournalEntry] = []
    /// A history row is written when this is set.
    package var history: HistoryNote?
    /// Takes this reservation, checked against the host's room. Throws `overbooked`.
    package var reserve: Reservation?
    /// Lets go of the migration's reservation.
    package var release = false
    /// The server is on this host from now on.
    package var placement: HostID?
    package var cleanups: [Cleanup] = []
    package var serverStatus: ServerStatus?
    package var serverNote: Reason?
    /// Gives the lease back: the migration finished, or is to be claimed again when due.
    package var releaseLease = false

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

extension Store {
    /// Accepts a migration: `pending`, its first history row, the server's status `start_migrate`, in one transaction.
    /// Throws `notFound`, `busy` (an unfinished migration, by the unique index), `wrongStatus` (live needs `running`, cold `ready`).
    package func submitMigration(
        server: ServerID, mode: Mode, options: MigrationOptions, maxAttempts: Int, actor: String
    ) async throws -> Migration { fatalError("skeleton") }

    /// Claims what is due and free or whose lease ended, best first (oldest), each under a raised epoch of its server.
    package func claimMigrations(worker: String, leaseMS: Int64, limit: Int) async throws -> [Migration] { fatalError("skeleton") }
    /// Renews the lease. Returns the row as it is now (a cancellation may have been asked for). Throws `superseded`.
    package func renewLease(_ migration: MigrationID, epoch: Epoch, worker: String, leaseMS: Int64) async throws -> Migration { fatalError("skeleton") }
    /// The only way in which a worker writes. Throws `superseded`, `overbooked`.
    @discardableResult
    package func apply(_ change: MigrationChange, worker: String) async throws -> Migration { fatalError("skeleton") }
    /// How far it is; no history row. Throws `superseded`.
    package func recordProgress(_ migration: MigrationID, epoch: Epoch, _ progress: Progress) async throws { fatalError("skeleton") }
    package func journal(of migration: MigrationID) async throws -> [JournalEntry] { fatalError("skeleton") }
    /// By id or unique beginning of an id. Throws `notFound`.
    package func migration(_ reference: String) async throws -> Migration { fatalError("skeleton") }
    package func migrations(_ filter: MigrationFilter) async throws -> [Migration] { fatalError("skeleton") }
    /// A migration's story, oldest first.
    package func history(of migration: MigrationID) async throws -> [Transition] { fatalError("skeleton") }
    /// When the next thing becomes due (a retry, a lease's end, a cleanup), milliseconds from the store's now; nil when nothing waits.
    package func nextDueInMS() async throws -> Int64? { fatalError("skeleton") }
}

// MARK: cleanups

extension Store {
    /// Cleanups that are due and held by nobody, now held by this worker for `leaseMS`.
    package func claimCleanups(worker: String, leaseMS: Int64, limit: Int) async throws -> [Cleanup] { fatalError("skeleton") }
    package func finishCleanup(_ id: String) async throws { fatalError("skeleton") }
    /// It could not be done now; again after `delayMS`.
    package func postponeCleanup(_ id: String, error: String, delayMS: Int64) async throws { fatalError("skeleton") }
    package func cleanups() async throws -> [Cleanup] { fatalError("skeleton") }
}
