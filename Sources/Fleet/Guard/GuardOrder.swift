/// What a controller tells a host's guard, after it has written in the store that it does.
package struct GuardOrder: Hashable, Sendable, Codable {
    /// Of the orders to one host: a guard that has obeyed a higher one refuses this.
    package var number: Int64
    /// The start of the host that is meant: none other obeys.
    package var bootID: String
    /// Until when, by the host's own clock, marked guests may run, in milliseconds. Nil is a release: for as long as they like, since nobody
    /// counts on their end any more.
    package var untilMS: Int64?

    package init(number: Int64, bootID: String, untilMS: Int64?) {
        self.number = number
        self.bootID = bootID
        self.untilMS = untilMS
    }
}

/// How a host's guard stands, and its answer to an order.
package struct GuardReport: Hashable, Sendable, Codable {
    package enum State: String, Sendable, Codable {
        /// There is none, or it does not answer.
        case absent
        case serving
        /// It was told to end, and does so as soon as nobody counts on it.
        case leaving
    }

    package var state: State
    /// Of the last order that was obeyed.
    package var number: Int64
    /// It has a lease, and ends the marked guests when that is over.
    package var isArmed: Bool
    /// Its lease is over: no marked guest runs, and none is started.
    package var isOver: Bool
    /// It feeds a watchdog, so that its own end ends the host.
    package var hasWatchdog: Bool
    /// Why the order that this answers was not obeyed; nil when it was.
    package var refusal: String?

    package init(
        state: State, number: Int64 = 0, isArmed: Bool = false, isOver: Bool = false, hasWatchdog: Bool = false, refusal: String? = nil
    ) {
        self.state = state
        self.number = number
        self.isArmed = isArmed
        self.isOver = isOver
        self.hasWatchdog = hasWatchdog
        self.refusal = refusal
    }

    /// Whether the order that this answers is one that can be counted on.
    package var confirms: Bool { state == .serving && isArmed && !isOver && refusal == nil }
}
