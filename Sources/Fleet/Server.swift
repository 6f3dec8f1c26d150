/// A virtual machine as its owner knows it.
package struct Server: Hashable, Sendable, Codable {
    package var id: ServerID
    package var name: String
    package var status: ServerStatus
    /// Its guest is there and its vCPUs stand still by somebody's order; only while it is `running` or on its way.
    package var isPaused: Bool
    /// The host it is on: its placement.
    package var host: HostID
    package var epoch: Epoch
    package var description: GuestDescription
    /// Why it is in an unexpected status, when it is.
    package var note: Reason?
    package var createdAt: Timestamp

    package init(
        id: ServerID, name: String, status: ServerStatus, isPaused: Bool = false, host: HostID, epoch: Epoch, description: GuestDescription,
        note: Reason?, createdAt: Timestamp
    ) {
        self.id = id
        self.name = name
        self.status = status
        self.isPaused = isPaused
        self.host = host
        self.epoch = epoch
        self.description = description
        self.note = note
        self.createdAt = createdAt
    }
}

/// A server's status, in climc's words.
package enum ServerStatus: String, Sendable, Codable, CaseIterable {
    /// Being created on its host.
    case deploying = "deploying"
    /// Off.
    case ready
    case starting
    case running
    case stopping
    case deleting
    /// A migration is accepted and not yet at work.
    case startMigrate = "start_migrate"
    case migrating
    case liveMigrating = "live_migrating"

    /// An order to the agent is under way that a controller must see through.
    package var isOperation: Bool {
        switch self {
        case .deploying, .starting, .stopping, .deleting: true
        case .ready, .running, .startMigrate, .migrating, .liveMigrating: false
        }
    }

    /// An operation that stands for as long as the server's host does not answer, and leaves the server whole.
    package var isStartOrStop: Bool { self == .starting || self == .stopping }
}
