/// What a migration will need on its target, held from `scheduling` to its end.
package struct Reservation: Hashable, Sendable, Codable {
    package var migration: MigrationID
    package var host: HostID
    package var vcpus: Int
    package var memoryBytes: Int64
    /// Bytes by storage name.
    package var storageBytes: [String: Int64]

    package init(migration: MigrationID, host: HostID, vcpus: Int, memoryBytes: Int64, storageBytes: [String: Int64]) {
        self.migration = migration
        self.host = host
        self.vcpus = vcpus
        self.memoryBytes = memoryBytes
        self.storageBytes = storageBytes
    }
}

/// Something left on a host that must go: recorded in the transaction that made it garbage, retried until it is done.
package struct Cleanup: Hashable, Sendable, Codable {
    package enum Kind: String, Sendable, Codable {
        /// The source's guest and disks after the placement moved.
        case source
        /// A target's guest and disks after its attempt was given up.
        case target
    }

    package var id: String
    package var kind: Kind
    package var migration: MigrationID
    package var server: ServerID
    package var host: HostID
    package var attempt: Int
    /// The order is given under this epoch; an agent that knows a newer one refuses it, and then it is moot.
    package var epoch: Epoch
    package var tries: Int
    package var dueAt: Timestamp
    package var lastError: String?

    package init(
        id: String, kind: Kind, migration: MigrationID, server: ServerID, host: HostID, attempt: Int, epoch: Epoch, tries: Int = 0,
        dueAt: Timestamp, lastError: String? = nil
    ) {
        self.id = id
        self.kind = kind
        self.migration = migration
        self.server = server
        self.host = host
        self.attempt = attempt
        self.epoch = epoch
        self.tries = tries
        self.dueAt = dueAt
        self.lastError = lastError
    }
}

/// One row of a migration's journal: a step of an attempt.
package struct JournalEntry: Hashable, Sendable, Codable {
    package enum Status: String, Sendable, Codable {
        /// Written before the step's first effect.
        case started
        case done
        /// Its compensation is done.
        case compensated
        /// Its compensation could not be done and stands as a ``Cleanup``.
        case deferred
    }

    package var attempt: Int
    package var step: String
    /// Its place in the plan, from 0.
    package var position: Int
    package var status: Status
    /// What the step found out and later ones need, as JSON.
    package var output: String?

    package init(attempt: Int, step: String, position: Int, status: Status, output: String? = nil) {
        self.attempt = attempt
        self.step = step
        self.position = position
        self.status = status
        self.output = output
    }
}
