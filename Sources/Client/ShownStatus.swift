package import Fleet

/// A server's status as it is shown, in climc's words: the store's, and `suspend` for a server that runs and stands still.
package enum ShownStatus: String, Sendable, Codable, CaseIterable {
    case deploying
    case ready
    case starting
    case running
    /// Its guest is there, and its vCPUs stand still until it is resumed.
    case suspend
    case stopping
    case deleting
    case startMigrate = "start_migrate"
    case migrating
    case liveMigrating = "live_migrating"

    package init(_ status: ServerStatus, isPaused: Bool) {
        self =
            switch status {
            case .deploying: .deploying
            case .ready: .ready
            case .starting: .starting
            case .running: isPaused ? .suspend : .running
            case .stopping: .stopping
            case .deleting: .deleting
            case .startMigrate: .startMigrate
            case .migrating: .migrating
            case .liveMigrating: .liveMigrating
            }
    }

    /// What the store calls it.
    package var stored: (status: ServerStatus, isPaused: Bool?) {
        switch self {
        case .deploying: (.deploying, nil)
        case .ready: (.ready, nil)
        case .starting: (.starting, nil)
        case .running: (.running, false)
        case .suspend: (.running, true)
        case .stopping: (.stopping, nil)
        case .deleting: (.deleting, nil)
        case .startMigrate: (.startMigrate, nil)
        case .migrating: (.migrating, nil)
        case .liveMigrating: (.liveMigrating, nil)
        }
    }
}
