import AgentAPI
import Convergence
import Fleet
import Hypervisor
import Sharing

/// All that an agent must remember of a server, in one file, so that what belongs together changes together.
///
/// It outlives the guest: the epoch and the refusals bind for ever.
struct GuestRecord: Hashable, Sendable, Codable {
    /// Whose the guest is, as far as this host is concerned.
    enum Tenure: String, Sendable, Codable {
        /// There is no guest of the server here.
        case none
        /// It is this host's to run.
        case home
        /// A migration brings it here; it must not run yet.
        case awaited
        /// A migration took it away: it shall not run here.
        case handedOver = "handed-over"
    }

    enum Desire: String, Sendable, Codable {
        case stopped
        case running
        /// Its vCPUs stand still.
        case paused
    }

    var server: ServerID
    /// Counts the changes: of two writings of a record the higher one stands.
    var sequence: Int64 = 0
    var epoch: Epoch = .none
    var tenure: Tenure = .none
    var desired: Desire = .stopped
    var description: GuestDescription?
    var warnings: [String] = []
    var incoming: IncomingRecord?
    var outgoing: OutgoingRecord?
    /// The server's files as they are lent to a host that copies them.
    var loan: LoanRecord?
    /// What an attempt that was given up had copied, kept for the next one on this host.
    var kept: KeptCopies?
    /// Attempts whose guest this host has promised never to run.
    var refused: [AttemptKey] = []
    /// The epoch under which this host became the owner, while it is.
    var ownedSince: Epoch?
    /// The rescue that brought the server here.
    var adopted: Adoption?
    /// A rescue that is about to: written before any owner record is, so that it can be taken back whatever happens between.
    var adopting: Adoption?
    /// The owner that this host gave way to, until that was asked for.
    var lost: Lost?

    /// That a rescue brought the server here.
    struct Adoption: Hashable, Sendable, Codable {
        var key: AttemptKey
        /// Under which the owner records were written.
        var epoch: Epoch?
        /// The owner records as they were, by storage.
        var before: [String: OwnerRecord]
        /// The guest was started since: it cannot be taken back any more.
        var isFinal = false
    }

    /// That another host was found to be the newer owner.
    struct Lost: Hashable, Sendable, Codable {
        var owner: OwnerRecord
        /// A guest still ran here, and was ended.
        var endedGuest: Bool
        /// What this host had, to have it again should the other one's rescue be taken back; nil once that cannot be any more.
        var description: GuestDescription?
        var ownedSince: Epoch?
    }

    init(server: ServerID) {
        self.server = server
    }

    /// The rule of epochs: whoever comes with an older one than was obeyed before is refused; a newer one is kept.
    mutating func admit(_ order: Epoch) throws {
        guard order >= epoch else {
            throw AgentProblem(
                .staleEpoch, .staleEpoch,
                "server \(server) is held under epoch \(epoch) here, and this order comes with \(order): somebody newer is at work")
        }
        epoch = order
    }

    /// The server is this host's from now on.
    mutating func own(under epoch: Epoch) {
        tenure = .home
        ownedSince = epoch
        adopting = nil
        lost = nil
    }

    /// Takes away everything but what binds for ever, and what is still to be told.
    mutating func forget() {
        tenure = .none
        ownedSince = nil
        adopted = nil
        adopting = nil
        desired = .stopped
        description = nil
        warnings = []
        incoming = nil
        outgoing = nil
        loan = nil
        kept = nil
    }
}

/// The target's end of an attempt, as it is on the disk.
struct IncomingRecord: Hashable, Sendable, Codable {
    var epoch: Epoch
    var key: AttemptKey
    /// Only `prepared`, `owned`, `refused` and `failed` are written before they are acted on; the others QEMU itself knows.
    var phase: IncomingReport.Phase
    /// Name of the source host.
    var source: String
    var endpoints: Endpoints?
    var reason: Reason?
    var ownershipUS: Int64?
    var resumeUS: Int64?
    var vcpuProgressMS: Int64?
    /// Of a server whose files are copied.
    var receipt: ReceiptRecord?
    /// It was handed over paused: what is owned is not run until somebody resumes it.
    var isPaused: Bool?
    /// Nil is plain.
    var streams: StreamOptions?
    /// What stands here is kept when the attempt has failed.
    var keepsFailed: Bool?
    /// Written with the ownership of a guest whose memory is not all here yet.
    var postCopy: PostCopy?

    /// Base images alone are copied, and QEMU does not wait yet.
    var isOfBases: Bool { receipt?.bases != nil }

    /// Memory is still to come for a guest that is ours.
    var isFetching: Bool { (phase == .owned || phase == .running) && (postCopy == .fetching || postCopy == .interrupted) }
}

/// Where a server's files are copied from.
struct ReceiptRecord: Hashable, Sendable, Codable {
    /// Names of the base images that alone are copied, of a server that may run; nil for all files of a stopped one.
    var bases: [String]?
    var sourceAgentURL: String
    var bandwidth: Int64?
    var enableTLS: Bool
    var verifies: Bool
    /// What it came to, once the files are here.
    var report: ReceiptReport?
}

/// A loan, as it is on the disk.
struct LoanRecord: Hashable, Sendable, Codable {
    var epoch: Epoch
    var key: AttemptKey
    var phase: LoanReport.Phase
    var enableTLS: Bool
    /// The host whose agent alone is let in, where files travel encrypted.
    var target: String?
    /// Base images alone are lent, of a server that may run.
    var isOfBases: Bool
    /// 0 before a daemon lends the files.
    var port: Int
    var files: [LentFile]

    /// The server must not start.
    var bindsServer: Bool { phase == .lent && !isOfBases }
}

/// Files of an attempt that was given up.
struct KeptCopies: Hashable, Sendable, Codable {
    var key: AttemptKey
    var description: GuestDescription
}

/// The source's end of an attempt, as it is on the disk.
struct OutgoingRecord: Hashable, Sendable, Codable {
    /// The leave to send memory and to switch.
    struct Leave: Hashable, Sendable, Codable {
        var targetAgentURL: String
        var rules: ConvergenceRules
    }

    /// The way back to a source that runs, and what is told at its end.
    struct Unwinding: Hashable, Sendable, Codable {
        /// `aborted` or `failed`.
        var phase: OutgoingReport.Phase
        var reason: Reason?
    }

    var epoch: Epoch
    var key: AttemptKey
    /// `switching` is never written: QEMU itself knows it.
    var phase: OutgoingReport.Phase
    var target: Endpoints
    var bandwidth: Int64?
    var leave: Leave?
    var unwinding: Unwinding?
    var reason: Reason?
    var blackout: Blackout?
    var timeline = SwitchTimeline()
    var progress = Fleet.Progress()
    var events: [PolicyEvent] = []
    /// How far the policy of convergence is; nil until memory begins.
    var convergence: ConvergencePolicy?
    /// It stood still by somebody's order when the attempt began, and nobody could give another one since.
    var isPaused: Bool?
    /// Nil is plain.
    var streams: StreamOptions?
    var postCopy: PostCopyMark?

    /// How far a post-copy is that QEMU was, or is to be, told to begin.
    enum PostCopyMark: String, Sendable, Codable {
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
    var isOver: Bool { (phase == .confirmed && postCopy != .begun) || phase == .aborted || phase == .failed }
}

/// The moments of a switchover on the source host's clock, in microseconds since 1970.
struct SwitchTimeline: Hashable, Sendable, Codable {
    var stopped: Int64?
    var preSwitchover: Int64?
    var continued: Int64?
    var completed: Int64?

    /// The parts of the blackout, once the target's answer is here.
    func blackout(answered: Int64, resumeUS: Int64) -> Blackout? {
        guard let stopped, let preSwitchover, let continued, let completed else { return nil }
        return Blackout(
            lastPassUS: preSwitchover - stopped, diskDrainUS: continued - preSwitchover, deviceStateUS: completed - continued,
            handoverUS: max(0, answered - completed - resumeUS), resumeUS: resumeUS, totalUS: answered - stopped)
    }
}
