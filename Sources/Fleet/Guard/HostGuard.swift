/// What the store knows of a host's guard. It is written before the guard hears of it.
package struct HostGuard: Hashable, Sendable, Codable {
    /// Of the last order that was written down. Whoever sees it unchanged for ``GuardTiming/certainAfterMS(lease:)`` knows that every lease
    /// ever given has ended: none was given after it.
    package var number: Int64
    /// The guard has confirmed a lease since the last release: it ends the host's marked guests with their lease.
    package var isConfirmed: Bool
    /// The longest lease that was given since then, in milliseconds.
    package var leaseMS: Int64

    package init(number: Int64 = 0, isConfirmed: Bool = false, leaseMS: Int64 = 0) {
        self.number = number
        self.isConfirmed = isConfirmed
        self.leaseMS = leaseMS
    }

    /// What a guard is to be told now that its agent has answered.
    package enum Step: Hashable, Sendable {
        case lease
        /// Nobody counts on it any more.
        case release
        case nothing
    }

    /// - Parameters:
    ///   - isWanted: the host's servers are to be started elsewhere when it dies.
    ///   - isFenced: servers are being rescued from it because its lease is over: until that has ended it must stay over.
    ///   - isEnding: the host is being shut down, and its servers are to be started elsewhere: what it was given runs out.
    ///   - report: nil of an agent that knows nothing of guards.
    package func step(isWanted: Bool, isFenced: Bool, isEnding: Bool = false, report: GuardReport?) -> Step {
        if isFenced || (isEnding && isConfirmed) { return .nothing }
        guard let report else { return isConfirmed ? .release : .nothing }
        if isWanted, report.state == .serving { return .lease }
        return isConfirmed || report.isArmed ? .release : .nothing
    }
}

/// Whether a host's servers are started elsewhere when it is proven dead.
package struct AutoMigration: Hashable, Sendable, Codable {
    package var onHostDown: Bool
    /// Also after the host was shut down in order. Of no meaning without the first.
    package var onHostShutdown: Bool

    package init(onHostDown: Bool = false, onHostShutdown: Bool = false) {
        self.onHostDown = onHostDown
        self.onHostShutdown = onHostShutdown
    }
}
