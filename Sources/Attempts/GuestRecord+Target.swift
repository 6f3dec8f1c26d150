package import AgentAPI
package import Fleet
package import Sharing

/// What orders to the host that a server comes to change in its record. Each looks first, and refuses by throwing; it does no I/O.
extension GuestRecord {
    /// A migration brings the server here.
    package mutating func expect(_ begun: IncomingRecord, _ guest: GuestDescription) {
        tenure = .awaited
        desired = .stopped
        description = guest
        warnings = []
        incoming = begun
        outgoing = nil
    }

    /// The ownership of a guest whose state is here: it may run from now on.
    ///
    /// - Parameter isFetching: Some of its memory is still to come (post-copy).
    /// - Returns: false when it was owned before.
    /// - Throws: ``AgentProblem`` when it was refused, or failed.
    package mutating func take(_ order: HandoverOrder, isFetching: Bool, ownershipUS: Int64) throws -> Bool {
        let key = order.key
        guard var incoming, incoming.key == key, !refused.contains(key), incoming.phase != .refused else {
            throw AgentProblem(
                .conflict, .invalidRequest, "this host has refused the guest of \(key.migration), attempt \(key.attempt)")
        }
        if incoming.phase == .owned || incoming.phase == .running { return false }
        guard incoming.phase != .failed else {
            throw AgentProblem(.conflict, incoming.reason ?? Reason(.targetLost, "the incoming guest failed"))
        }
        incoming.phase = .owned
        incoming.postCopy = isFetching ? .fetching : nil
        incoming.ownershipUS = ownershipUS
        incoming.isPaused = order.isPaused
        self.incoming = incoming
        own(under: order.epoch)
        desired = order.isPaused == true ? .paused : .running
        // The handover belongs to the attempt: a newer worker of the same one may hold a higher epoch already.
        epoch = max(epoch, order.epoch)
        return true
    }

    /// The ownership of a stopped server whose files are all here. It stays stopped.
    /// - Throws: ``AgentProblem`` when it was refused, or is not here in full.
    package mutating func takeStopped(_ order: HandoverOrder) throws {
        let key = order.key
        guard var incoming, incoming.key == key, !refused.contains(key), incoming.phase != .refused else {
            throw AgentProblem(
                .conflict, .invalidRequest, "this host has refused server \(server) of \(key.migration), attempt \(key.attempt)")
        }
        guard !incoming.isOfBases else {
            throw AgentProblem(.conflict, .targetLost, "only base images of server \(server) were brought here")
        }
        switch incoming.phase {
        case .owned, .running: return
        case .prepared, .refused, .failed:
            throw AgentProblem(.conflict, incoming.reason ?? Reason(.targetLost, "the files of server \(server) are not here in full"))
        case .received: break
        }
        incoming.phase = .owned
        self.incoming = incoming
        own(under: order.epoch)
        desired = .stopped
        epoch = max(epoch, order.epoch)
    }

    /// The promise never to run this attempt's guest.
    /// - Throws: ``AgentProblem`` `owned` once it is this host's.
    package mutating func refuse(_ order: RefuseOrder) throws {
        if var incoming, incoming.key == order.key {
            guard incoming.phase != .owned, incoming.phase != .running else {
                throw AgentProblem(.owned, .invalidRequest, "this host owns server \(server) and may have run it")
            }
            incoming.phase = .refused
            incoming.epoch = order.epoch
            self.incoming = incoming
        }
        if !refused.contains(order.key) { refused.append(order.key) }
    }

    /// The same for whatever attempt is awaited here, which is about to be removed. One that failed says so still.
    /// - Throws: ``AgentProblem`` `owned` once it is this host's.
    package mutating func giveUpIncoming() throws {
        guard var incoming else { return }
        guard incoming.phase != .owned, incoming.phase != .running else {
            throw AgentProblem(.owned, .invalidRequest, "this host owns server \(server)")
        }
        if !refused.contains(incoming.key) { refused.append(incoming.key) }
        if incoming.phase != .failed { incoming.phase = .refused }
        self.incoming = incoming
    }

    /// A rescue makes this host the owner of a server that stays stopped.
    package mutating func adopt(_ adoption: Adoption, _ guest: GuestDescription, under epoch: Epoch) {
        own(under: epoch)
        desired = .stopped
        description = guest
        warnings = []
        outgoing = nil
        adopted = adoption
    }

    /// Somebody newer owns the server: what this host had is kept for the case that this is taken back. From here on orders from before that
    /// are refused, also where the host was away for all that came since.
    package mutating func lose(to owner: OwnerRecord, endedGuest: Bool) {
        let before = epoch
        epoch = max(epoch, owner.epoch)
        lost = Lost(owner: owner, endedGuest: endedGuest, description: description, ownedSince: ownedSince ?? before)
        forget()
    }
}
