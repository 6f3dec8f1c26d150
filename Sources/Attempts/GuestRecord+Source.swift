package import AgentAPI
package import Fleet

/// What orders to the host that a server leaves change in its record. Each looks first, and refuses by throwing; it does no I/O.
extension GuestRecord {
    /// Takes what an order says anew about an attempt that is under way.
    package mutating func renew(
        _ epoch: Epoch, _ key: AttemptKey, bandwidth: Int64?, leave: OutgoingRecord.Leave?, target: Endpoints
    ) {
        guard var outgoing, outgoing.key == key, !outgoing.isOver else { return }
        outgoing.epoch = epoch
        outgoing.bandwidth = bandwidth
        outgoing.target = target
        if let leave { outgoing.leave = leave }
        self.outgoing = outgoing
    }

    /// A live attempt is about to begin here.
    /// - Throws: ``AgentProblem`` `conflict` when it was called off before the order came.
    package func requireNotAborted(_ key: AttemptKey) throws {
        if aborted?.contains(key) == true { throw Self.isOver(key) }
    }

    /// The same of a copy.
    /// - Throws: ``AgentProblem`` `conflict`.
    package func requireNotTakenBack(_ key: AttemptKey) throws {
        if takenBack?.contains(key) == true { throw Self.isOver(key) }
    }

    /// An attempt that left nothing here, and shall not begin any more: its orders may be on their way still.
    package mutating func callOff(_ key: AttemptKey) {
        if aborted?.contains(key) != true { aborted = (aborted ?? []) + [key] }
        if takenBack?.contains(key) != true { takenBack = (takenBack ?? []) + [key] }
    }

    private static func isOver(_ key: AttemptKey) -> AgentProblem {
        AgentProblem(.conflict, .invalidRequest, "attempt \(key.attempt) of migration \(key.migration) is over here")
    }

    /// From here on there is only the way back; of an attempt that this host knows nothing of, none forward.
    /// - Throws: ``AgentProblem`` `owned` where the target may run the guest.
    package mutating func abort(_ order: AbortOrder) throws {
        if aborted?.contains(order.key) != true { aborted = (aborted ?? []) + [order.key] }
        guard var outgoing, outgoing.key == order.key else { return }
        switch outgoing.phase {
        case .aborted, .failed: return
        case .confirmed: throw AgentProblem(.owned, .invalidRequest, "the target runs the guest: there is nothing left to abort")
        case .handedOver:
            guard order.targetRefused else {
                throw AgentProblem(
                    .owned, .invalidRequest,
                    "the guest was handed over: it comes back only when the target has refused it, or is proven dead")
            }
            // From here on QEMU's answers decide: it has completed, so that `cont` is what is left; unless it was by post-copy.
            outgoing.phase = .memory
            tenure = .home
        case .mirroring, .mirrored, .memory, .switching:
            guard outgoing.postCopy != .begun || order.targetRefused else {
                throw AgentProblem(
                    .owned, .invalidRequest,
                    "post-copy has begun: QEMU can run the guest only at the target, unless that refuses it")
            }
        }
        outgoing.epoch = order.epoch
        if outgoing.unwinding == nil { outgoing.unwinding = OutgoingRecord.Unwinding(phase: .aborted, reason: nil) }
        self.outgoing = outgoing
    }

    /// The handover: this host shall not run the guest. Not once there is only the way back.
    package mutating func handOver(
        _ key: AttemptKey, isPostCopy: Bool, timeline: SwitchTimeline, progress: Progress, events: [PolicyEvent]
    ) {
        guard var outgoing, outgoing.key == key, outgoing.unwinding == nil, !outgoing.isOver else { return }
        outgoing.phase = .handedOver
        // What was to end by post-copy may have converged meanwhile.
        outgoing.postCopy = isPostCopy ? .begun : nil
        outgoing.timeline = timeline
        outgoing.progress = progress
        outgoing.events = events
        self.outgoing = outgoing
        tenure = .handedOver
    }

    /// The handover of a stopped server.
    /// - Throws: ``AgentProblem`` when it is not lent under this key, or was taken back.
    package mutating func yield(_ order: YieldOrder) throws {
        guard var loan, loan.key == order.key, !loan.isOfBases else {
            throw AgentProblem(
                .notFound, .invalidRequest,
                "attempt \(order.key.attempt) of migration \(order.key.migration) does not take server \(server) from here")
        }
        switch loan.phase {
        case .yielded: return
        case .returned:
            throw AgentProblem(.conflict, .invalidRequest, "server \(server) was taken back: it is this host's")
        case .lent: break
        }
        loan.phase = .yielded
        loan.epoch = order.epoch
        self.loan = loan
        tenure = .handedOver
        desired = .stopped
    }

    /// A stopped server is this host's again. One that was not lent under this key will not be.
    /// - Throws: ``AgentProblem`` `owned` while the target has not refused what was yielded.
    package mutating func takeBack(_ order: TakeBackOrder) throws {
        if takenBack?.contains(order.key) != true { takenBack = (takenBack ?? []) + [order.key] }
        guard var loan, loan.key == order.key else { return }
        switch loan.phase {
        case .returned: return
        case .lent: break
        case .yielded:
            guard order.targetRefused else {
                throw AgentProblem(
                    .owned, .invalidRequest, "the server was handed over: it comes back only when the target has refused it")
            }
            tenure = .home
        }
        loan.phase = .returned
        loan.epoch = order.epoch
        self.loan = loan
    }
}
