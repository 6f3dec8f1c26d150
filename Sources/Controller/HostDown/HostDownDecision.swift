import Fleet

/// What is to be done about a host that may have died. Pure: what is known goes in, a verdict comes out.
struct HostDownDecision {
    /// One host as a controller sees it.
    struct Sighting: Hashable, Sendable {
        var isWanted = true
        /// By the store, which every controller writes.
        var isOnline = false
        /// The host has said that it is being shut down, and nothing is to be started elsewhere for that.
        var wasShutDown = false
        var isConfirmed = true
        var leaseMS: Int64 = GuardTiming.standardLeaseMS
        /// How long this controller has seen the number of the host's last order unchanged, in milliseconds of its own clock. The store's clock
        /// may be set; this one cannot.
        var unchangedMS: Int64 = 0
        /// This controller has asked the host's agent just now and had no answer. One that cannot reach the store has no say either.
        var isSilent = true
    }

    enum Verdict: Hashable, Sendable {
        /// Nothing is to be done: it answers, or nobody wants anything done.
        case none
        /// It is off by order.
        case shutDown
        /// Nothing proves it dead, and nothing will.
        case unproven
        /// It is certain in so many milliseconds.
        case notYet(Int64)
        /// Its servers may be started elsewhere.
        case dead
        /// It is dead, and so are so many others of so many at once that this controller, or the network, is more likely to blame.
        case held(down: Int, of: Int)
    }

    /// A share of the hosts larger than this, in percent, is not believed to have died at once, when it is at least `atLeast` hosts.
    struct Suspicion: Hashable, Sendable {
        var percent = 33
        var atLeast = 3
    }

    /// - Parameter isSuspicious: see ``suspects(_:_:)``.
    static func verdict(on host: Sighting, isSuspicious: (down: Int, of: Int)?) -> Verdict {
        guard host.isWanted, !host.isOnline else { return .none }
        if host.wasShutDown { return .shutDown }
        guard host.isConfirmed else { return .unproven }
        guard host.isSilent else { return .none }
        let left = GuardTiming.certainAfterMS(lease: host.leaseMS) - host.unchangedMS
        guard left <= 0 else { return .notYet(left) }
        return isSuspicious.map { .held(down: $0.down, of: $0.of) } ?? .dead
    }

    /// How many hosts are down at once, of how many, when that are too many to be believed; nil otherwise.
    /// - Parameters:
    ///   - down: those that are offline and about which something would be done that has not been done yet.
    ///   - online: those that answer.
    static func suspects(down: Int, online: Int, _ suspicion: Suspicion) -> (down: Int, of: Int)? {
        let all = down + online
        return down >= suspicion.atLeast && down * 100 > all * suspicion.percent ? (down, all) : nil
    }
}
