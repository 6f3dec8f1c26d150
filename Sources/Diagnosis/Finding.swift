package import Fleet

/// One difference between what the store says and what is, or what will soon be wrong, with what would mend it.
package struct Finding: Hashable, Sendable {
    package enum Severity: String, Sendable, Codable, CaseIterable, Comparable {
        /// A server is down, may be lost, or may run twice.
        case critical
        /// Something is wrong that costs room, or will cost more.
        case warning
        /// Worth knowing.
        case note

        package static func < (left: Severity, right: Severity) -> Bool {
            guard let first = allCases.firstIndex(of: left), let second = allCases.firstIndex(of: right) else { return false }
            return first < second
        }
    }

    package enum Kind: String, Sendable, Codable, CaseIterable {
        /// Something of a server is on a host, and the store has no such server.
        case guestUnknown = "guest-unknown"
        /// A guest is on a host where its server is not placed, and no migration explains that.
        case guestElsewhere = "guest-elsewhere"
        /// The store has the server on a host where it has no guest.
        case serverWithoutGuest = "server-without-guest"
        /// Its guest runs, and the store says that it is off.
        case serverNotExpectedRunning = "server-not-expected-running"
        /// Its guest runs on two hosts.
        case serverInTwoPlaces = "server-in-two-places"
        /// It stands still, or runs, and the store says otherwise.
        case pauseDiffers = "pause-differs"
        case diskMissing = "disk-missing"
        case leftoverDisk = "leftover-disk"
        case staleLease = "stale-lease"
        case migrationAwaiting = "migration-awaiting"
        case reservationLeaked = "reservation-leaked"
        case cleanupOverdue = "cleanup-overdue"
        case hostSilent = "host-silent"
        /// A part of a host could not be looked at, so that nothing is concluded from it.
        case hostUnclear = "host-unclear"
        case versionBehind = "version-behind"
        case certificateEnding = "certificate-ending"
        case certificateEnded = "certificate-ended"
        case clockOff = "clock-off"
    }

    /// What `--fix` does about it.
    package enum Fix: Hashable, Sendable {
        /// Sets the server's status to what its guest is, unless anything has happened to it since.
        case settle(ServerID, epoch: Epoch, ServerStatus, isPaused: Bool, note: Reason?)
        /// Has a worker remove what an attempt of a finished migration left.
        case clean(ServerID, on: HostID, MigrationID, attempt: Int, Cleanup.Kind, epoch: Epoch)
        /// Has the agent remove files of a server that is whole on another host.
        case clear(ServerID, on: HostID, storage: String, epoch: Epoch)
        case release(MigrationID)
    }

    package var severity: Severity
    package var kind: Kind
    package var server: ServerID?
    package var host: HostID?
    package var migration: MigrationID?
    /// What else tells it from others of its kind, such as a path.
    package var subject: String?
    /// What is the matter.
    package var message: String
    /// What would mend it: a command, or what somebody must do.
    package var remedy: String
    /// Nil where only a person can mend it.
    package var fix: Fix?

    package init(
        _ severity: Severity, _ kind: Kind, server: ServerID? = nil, host: HostID? = nil, migration: MigrationID? = nil,
        subject: String? = nil, _ message: String, remedy: String, fix: Fix? = nil
    ) {
        self.severity = severity
        self.kind = kind
        self.server = server
        self.host = host
        self.migration = migration
        self.subject = subject
        self.message = message
        self.remedy = remedy
        self.fix = fix
    }

    /// What it is about: two looks that find the same differ in nothing of this.
    package struct Identity: Hashable, Sendable {
        let kind: Kind
        let server: ServerID?
        let host: HostID?
        let migration: MigrationID?
        let subject: String?
    }

    package var identity: Identity { Identity(kind: kind, server: server, host: host, migration: migration, subject: subject) }
}
