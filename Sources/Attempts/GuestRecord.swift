package import AgentAPI
package import Fleet
package import Sharing

/// All that an agent must remember of a server, in one file, so that what belongs together changes together.
///
/// It outlives the guest: the epoch and the refusals bind for ever.
package struct GuestRecord: Hashable, Sendable, Codable {
    /// Whose the guest is, as far as this host is concerned.
    package enum Tenure: String, Sendable, Codable {
        /// There is no guest of the server here.
        case none
        /// It is this host's to run.
        case home
        /// A migration brings it here; it must not run yet.
        case awaited
        /// A migration took it away: it shall not run here.
        case handedOver = "handed-over"
    }

    package enum Desire: String, Sendable, Codable {
        case stopped
        case running
        /// Its vCPUs stand still.
        case paused
    }

    package var server: ServerID
    /// Counts the changes: of two writings of a record the higher one stands.
    package var sequence: Int64 = 0
    package var epoch: Epoch = .none
    package var tenure: Tenure = .none
    package var desired: Desire = .stopped
    package var description: GuestDescription?
    package var warnings: [String] = []
    package var incoming: IncomingRecord?
    package var outgoing: OutgoingRecord?
    /// The server's files as they are lent to a host that copies them.
    package var loan: LoanRecord?
    /// What an attempt that was given up had copied, kept for the next one on this host.
    package var kept: KeptCopies?
    /// Attempts whose guest this host has promised never to run.
    package var refused: [AttemptKey] = []
    /// Live attempts that were called off here under the present epoch: orders of theirs that were on their way meanwhile come too late. Those
    /// under earlier epochs are refused for that.
    package var aborted: [AttemptKey]?
    /// The same of attempts that were to copy the server's files.
    package var takenBack: [AttemptKey]?
    /// The epoch under which this host became the owner, while it is.
    package var ownedSince: Epoch?
    /// The rescue that brought the server here.
    package var adopted: Adoption?
    /// A rescue that is about to: written before any owner record is, so that it can be taken back whatever happens between.
    package var adopting: Adoption?
    /// The owner that this host gave way to, until that was asked for.
    package var lost: Lost?

    /// That a rescue brought the server here.
    package struct Adoption: Hashable, Sendable, Codable {
        package var key: AttemptKey
        /// Under which the owner records were written.
        package var epoch: Epoch?
        /// The owner records as they were, by storage.
        package var before: [String: OwnerRecord]
        /// The guest was started since: it cannot be taken back any more.
        package var isFinal = false

        package init(key: AttemptKey, epoch: Epoch?, before: [String: OwnerRecord]) {
            self.key = key
            self.epoch = epoch
            self.before = before
        }
    }

    /// That another host was found to be the newer owner.
    package struct Lost: Hashable, Sendable, Codable {
        package var owner: OwnerRecord
        /// A guest still ran here, and was ended.
        package var endedGuest: Bool
        /// What this host had, to have it again should the other one's rescue be taken back; nil once that cannot be any more.
        package var description: GuestDescription?
        package var ownedSince: Epoch?

        package init(owner: OwnerRecord, endedGuest: Bool, description: GuestDescription?, ownedSince: Epoch?) {
            self.owner = owner
            self.endedGuest = endedGuest
            self.description = description
            self.ownedSince = ownedSince
        }
    }

    package init(server: ServerID) {
        self.server = server
    }

    /// The rule of epochs: whoever comes with an older one than was obeyed before is refused; a newer one is kept.
    package mutating func admit(_ order: Epoch) throws {
        guard order >= epoch else {
            throw AgentProblem(
                .staleEpoch, .staleEpoch,
                "server \(server) is held under epoch \(epoch) here, and this order comes with \(order): somebody newer is at work")
        }
        if order > epoch {
            aborted = nil
            takenBack = nil
        }
        epoch = order
    }

    /// The server is this host's from now on.
    package mutating func own(under epoch: Epoch) {
        tenure = .home
        ownedSince = epoch
        adopting = nil
        lost = nil
    }

    /// Takes away everything but what binds for ever, and what is still to be told.
    package mutating func forget() {
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
