package import Fleet

/// What a host has promised its controllers: until when its marked guests may run.
///
/// A lease is counted by the host's own clock. Whoever gave it had read that clock before writing the lease down in the store, so that it is
/// over here no later than there, however late the order came. What a former start of the host was given is over: its guests are gone, and
/// none is started before somebody gives a new one.
package struct LeaseBook: Hashable, Sendable, Codable {
    package struct Lease: Hashable, Sendable, Codable {
        package var bootID: String
        /// CLOCK_BOOTTIME.
        package var untilMS: Int64

        package init(bootID: String, untilMS: Int64) {
            self.bootID = bootID
            self.untilMS = untilMS
        }
    }

    package enum Standing: Hashable, Sendable {
        /// Nobody counts on anything.
        case free
        case held(forMS: Int64)
        /// For so long; nil of a lease from before the host was started.
        case over(forMS: Int64?)

        package var isOver: Bool { if case .over = self { true } else { false } }
    }

    /// Of the last order that was obeyed.
    package var number: Int64
    package var lease: Lease?

    package init(number: Int64 = 0, lease: Lease? = nil) {
        self.number = number
        self.lease = lease
    }

    package func standing(at now: BootTime) -> Standing {
        guard let lease else { return .free }
        guard lease.bootID == now.bootID else { return .over(forMS: nil) }
        return now.milliseconds < lease.untilMS
            ? .held(forMS: lease.untilMS - now.milliseconds) : .over(forMS: now.milliseconds - lease.untilMS)
    }

    /// Obeys an order, or answers why not.
    ///
    /// Leases only grow, for several controllers give them and any of them may count on the longest. One that is over already when it comes is
    /// not taken: guests would be ended for a delay of the network.
    /// - Parameter isLeaving: nothing new is promised.
    package mutating func obey(_ order: GuardOrder, at now: BootTime, isLeaving: Bool) -> String? {
        guard order.bootID == now.bootID else { return "the order was meant for the host before it was started anew" }
        guard order.number >= number else { return "a later order, \(number), was obeyed already" }
        number = order.number
        guard let until = order.untilMS else {
            lease = nil
            return nil
        }
        if isLeaving { return "the guard has been told to end" }
        guard until > now.milliseconds else { return "the lease was over when it came" }
        let before = lease?.bootID == now.bootID ? lease?.untilMS ?? until : until
        lease = Lease(bootID: now.bootID, untilMS: max(before, until))
        return nil
    }

    package func report(_ state: GuardReport.State, at now: BootTime, hasWatchdog: Bool = false, refusal: String? = nil) -> GuardReport {
        GuardReport(
            state: state, number: number, isArmed: lease != nil, isOver: standing(at: now).isOver, hasWatchdog: hasWatchdog,
            refusal: refusal)
    }
}
