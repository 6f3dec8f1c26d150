import AgentAPI
import Failpoints

extension GuestRecord {
    /// What this record says that the one before it did not: the weightiest of it.
    func fact(since before: GuestRecord) -> RecordedFact {
        if refused != before.refused { return .refused }
        if (aborted ?? []).count > (before.aborted ?? []).count { return .aborted }
        if (takenBack ?? []).count > (before.takenBack ?? []).count { return .takenBack }
        if lost != before.lost, lost != nil { return .lost }
        if tenure != before.tenure {
            switch tenure {
            case .none: return .forgotten
            case .handedOver: return .handedOver
            case .awaited: return .awaited
            case .home: return adopted != before.adopted ? .adopted : before.tenure == .none ? .described : .owned
            }
        }
        return adoptionFact(since: before) ?? outgoingFact(since: before) ?? incomingFact(since: before) ?? loanFact(since: before)
            ?? guestFact(since: before)
    }

    private func adoptionFact(since before: GuestRecord) -> RecordedFact? {
        if adopting != before.adopting { return .adopting }
        return adopted != before.adopted ? .adopted : nil
    }

    private func outgoingFact(since before: GuestRecord) -> RecordedFact? {
        guard let now = outgoing, now != before.outgoing else { return nil }
        guard let then = before.outgoing, then.key == now.key else { return .outgoingBegun }
        if now.phase != then.phase {
            switch now.phase {
            case .mirroring, .mirrored: return .outgoingMirrored
            case .memory, .switching: return .outgoingMemory
            case .handedOver: return .handedOver
            case .confirmed: return .outgoingConfirmed
            case .aborted, .failed: return .outgoingEnded
            }
        }
        if now.unwinding != then.unwinding { return .unwinding }
        if now.postCopy != then.postCopy { return .postCopy }
        return now.leave != then.leave ? .leave : .outgoingDetail
    }

    private func incomingFact(since before: GuestRecord) -> RecordedFact? {
        guard let now = incoming, now != before.incoming else { return nil }
        guard let then = before.incoming, then.key == now.key else { return .incomingBegun }
        if now.phase != then.phase { return now.phase == .owned ? .owned : .incomingPhase }
        return now.postCopy != then.postCopy ? .postCopy : .incomingDetail
    }

    private func loanFact(since before: GuestRecord) -> RecordedFact? {
        guard let now = loan, now != before.loan else { return nil }
        guard let then = before.loan, then.key == now.key else { return .lent }
        return now.phase != then.phase ? .loanPhase : .loanDetail
    }

    private func guestFact(since before: GuestRecord) -> RecordedFact {
        if kept != before.kept { return .kept }
        if desired != before.desired { return .desired }
        if description != before.description { return .described }
        return epoch != before.epoch ? .epoch : .other
    }
}
