package import AgentAPI
package import Convergence
package import Fleet

/// The source's end of an attempt, as it is on the disk.
package struct OutgoingRecord: Hashable, Sendable, Codable {
    /// The leave to send memory and to switch.
    package struct Leave: Hashable, Sendable, Codable {
        package var targetAgentURL: String
        package var rules: ConvergenceRules

        package init(targetAgentURL: String, rules: ConvergenceRules) {
            self.targetAgentURL = targetAgentURL
            self.rules = rules
        }
    }

    /// The way back to a source that runs, and what is told at its end.
    package struct Unwinding: Hashable, Sendable, Codable {
        /// `aborted` or `failed`.
        package var phase: OutgoingReport.Phase
        package var reason: Reason?

        package init(phase: OutgoingReport.Phase, reason: Reason?) {
            self.phase = phase
            self.reason = reason
        }
    }

    package var epoch: Epoch
    package var key: AttemptKey
    /// `switching` is never written: QEMU itself knows it.
    package var phase: OutgoingReport.Phase
    package var target: Endpoints
    package var bandwidth: Int64?
    package var leave: Leave?
    package var unwinding: Unwinding?
    package var reason: Reason?
    package var blackout: Blackout?
    package var timeline = SwitchTimeline()
    package var progress = Fleet.Progress()
    package var events: [PolicyEvent] = []
    /// How far the policy of convergence is; nil until memory begins.
    package var convergence: ConvergencePolicy?
    /// It stood still by somebody's order when the attempt began, and nobody could give another one since.
    package var isPaused: Bool?
    /// Nil is plain.
    package var streams: StreamOptions?
    package var postCopy: PostCopyMark?

    package init(
        epoch: Epoch, key: AttemptKey, phase: OutgoingReport.Phase, target: Endpoints, bandwidth: Int64? = nil, isPaused: Bool? = nil,
        streams: StreamOptions? = nil
    ) {
        self.epoch = epoch
        self.key = key
        self.phase = phase
        self.target = target
        self.bandwidth = bandwidth
        self.isPaused = isPaused
        self.streams = streams
    }

    /// How far a post-copy is that QEMU was, or is to be, told to begin.
    package enum PostCopyMark: String, Sendable, Codable {
        /// QEMU is to stop the guest at the end of its round, whatever is left.
        case asked
        /// Written before `migrate-continue`: QEMU 7.2 cannot run the guest here again once it has begun, so that nobody may call it off.
        case begun
        /// All memory is sent.
        case complete
        /// One of the QEMUs ended before that.
        case lost
    }

    /// Nothing will change any more.
    package var isOver: Bool { (phase == .confirmed && postCopy != .begun) || phase == .aborted || phase == .failed }
}
