package import Fleet

/// `GET /v1/inventory`: everything that stands on a host, of whatever it knows and of whatever it does not. Looked at once, changed nothing.
package struct Inventory: Hashable, Sendable, Codable {
    /// See ``AgentVersion``.
    package var apiVersion: Int
    /// The host's wall clock when it answered.
    package var clock: Timestamp
    /// Every server that the agent has a record of, also where nothing of it is left but the epoch.
    package var guests: [GuestBook]
    /// QEMUs that run out of the agent's folders and that no record counts as its guest.
    package var strays: [StrayProcess]
    /// What lies in the storages, but for base images, proofs and what is kept.
    package var entries: [StorageEntry]
    /// Ends of the certificates that the agent has read: its own and the authority's.
    package var certificates: [CertificateEnd]
    /// Storages that could not be looked at, by name, with why: what lies there is not known.
    package var unseen: [String: String]
    /// What else could not be looked at.
    package var troubles: [String]

    package init(
        apiVersion: Int = AgentVersion.current, clock: Timestamp, guests: [GuestBook] = [], strays: [StrayProcess] = [],
        entries: [StorageEntry] = [], certificates: [CertificateEnd] = [], unseen: [String: String] = [:], troubles: [String] = []
    ) {
        self.apiVersion = apiVersion
        self.clock = clock
        self.guests = guests
        self.strays = strays
        self.entries = entries
        self.certificates = certificates
        self.unseen = unseen
        self.troubles = troubles
    }
}

/// What an agent has written down of a server, and what of it is there.
package struct GuestBook: Hashable, Sendable, Codable {
    /// Whose the guest is, as far as the host is concerned.
    package enum Tenure: String, Sendable, Codable {
        /// Nothing of it is here but the epoch.
        case none
        /// It is this host's to run.
        case home
        /// A migration brings it here.
        case awaited
        /// A migration took it away.
        case handedOver = "handed-over"
    }

    /// One end of an attempt of which something is written down here.
    package struct End: Hashable, Sendable, Codable {
        package var key: AttemptKey
        package var end: DiscardOrder.End
        /// The source's has handed over, the target's was refused or has failed: what it left may go.
        package var isGivenUp: Bool

        package init(key: AttemptKey, end: DiscardOrder.End, isGivenUp: Bool) {
            self.key = key
            self.end = end
            self.isGivenUp = isGivenUp
        }
    }

    package var server: ServerID
    package var epoch: Epoch
    package var tenure: Tenure
    /// It is meant to run.
    package var isWanted: Bool
    /// Its QEMU, while there is one.
    package var pid: Int32?
    /// What that says of itself (QAPI RunState, `running`); nil when it does not answer, or is not there.
    package var runState: String?
    /// The guard ended it, and it is started again by itself.
    package var endedByGuard: Bool
    package var ends: [End]
    /// Copies of an attempt, kept for the next one here to go on with.
    package var hasCopies: Bool
    /// The server's disks on storages of this host's own that are not there.
    package var missingDisks: [String]
    /// Why nothing of it can be told now; nil when all was.
    package var obstacle: String?

    package init(
        server: ServerID, epoch: Epoch, tenure: Tenure, isWanted: Bool = false, pid: Int32? = nil, runState: String? = nil,
        endedByGuard: Bool = false, ends: [End] = [], hasCopies: Bool = false, missingDisks: [String] = [], obstacle: String? = nil
    ) {
        self.server = server
        self.epoch = epoch
        self.tenure = tenure
        self.isWanted = isWanted
        self.pid = pid
        self.runState = runState
        self.endedByGuard = endedByGuard
        self.ends = ends
        self.hasCopies = hasCopies
        self.missingDisks = missingDisks
        self.obstacle = obstacle
    }

    /// Its vCPUs execute, or may.
    package var mayRun: Bool { pid != nil && (runState == nil || runState == "running") }
}

/// A QEMU that no record counts as its guest.
package struct StrayProcess: Hashable, Sendable, Codable {
    package var pid: Int32
    /// The server in whose folder its pid file lies.
    package var server: ServerID

    package init(pid: Int32, server: ServerID) {
        self.pid = pid
        self.server = server
    }
}

/// A file or folder that lies in a storage.
package struct StorageEntry: Hashable, Sendable, Codable {
    package var storage: String
    package var kind: Storage.Kind
    package var name: String
    package var path: String
    /// What it takes, in bytes, with all that is in it.
    package var bytes: Int64
    /// Belongs to what is kept of a failed attempt.
    package var isKept: Bool

    package init(storage: String, kind: Storage.Kind, name: String, path: String, bytes: Int64, isKept: Bool = false) {
        self.storage = storage
        self.kind = kind
        self.name = name
        self.path = path
        self.bytes = bytes
        self.isKept = isKept
    }
}

/// Until when a certificate is good.
package struct CertificateEnd: Hashable, Sendable, Codable {
    package enum Kind: String, Sendable, Codable {
        /// The process's own.
        case own
        case authority
    }

    package var kind: Kind
    /// Where it was read.
    package var path: String
    package var end: Timestamp

    package init(kind: Kind, path: String, end: Timestamp) {
        self.kind = kind
        self.path = path
        self.end = end
    }
}

/// `POST /v1/guests/{server}/clear`: have nothing left of a server on this host's own storages, where its record says that it is not here and
/// nothing of it is awaited, lent or kept. Refused (409) otherwise.
package struct ClearOrder: Hashable, Sendable, Codable {
    package var epoch: Epoch
    /// Names of storages.
    package var storages: [String]

    package init(epoch: Epoch, storages: [String]) {
        self.epoch = epoch
        self.storages = storages
    }
}
