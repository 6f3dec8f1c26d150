import Foundation

/// A rule of the design broken on purpose, at the seams of the simulation: what shows that the checker would see it.
package enum Mutation: String, CaseIterable, Sendable {
    /// An agent obeys whatever epoch an order comes with (rule 4).
    case noEpochCheck = "no-epoch-check"
    /// The source tells the target to take over without having written that it handed over (chapter 8, step 3).
    case unwrittenHandover = "unwritten-handover"
    /// The target runs the guest without having written that it owns it (step 4).
    case unwrittenOwnership = "unwritten-ownership"
    /// `cont` before the ownership record.
    case runningBeforeOwned = "cont-before-ownership"
    /// The target runs the guest as soon as its state is there, before any handover.
    case ranWithoutHandover = "cont-before-handover"
    /// The source's disks go as soon as the target runs, before the placement was committed (rule 7).
    case earlyCleanup = "cleanup-before-commit"
    /// The source takes a guest back that it handed over, without the target's refusal (rule 6).
    case abortWithoutRefusal = "abort-without-refusal"
    /// The same of a stopped server.
    case takenBackWithoutRefusal = "take-back-without-refusal"
    /// A target forgets with its agent what it has refused.
    case forgottenRefusals = "forgotten-refusals"
    /// A source forgets that an attempt was called off: orders that come late begin it anew.
    case forgottenAbort = "forgotten-abort"
    /// The same of the loan of a stopped server.
    case forgottenTakeBack = "forgotten-take-back"
    /// A source whose agent starts anew runs the guest that QEMU has sent.
    case continuedAfterRestart = "cont-after-restart"
    /// An order that is given again begins the mirrors again (rule 5).
    case mirroredAgain = "mirrored-again"
    /// Nothing guards the time in which the guest stands still before the switch (rule 9).
    case openWindow = "open-window"
    /// The switch does not wait for the mirrors.
    case undrainedDisks = "undrained-disks"
    /// The store takes the writes of whoever held the migration before (rule 4).
    case epochlessStore = "epochless-store"
    /// Nothing is reserved (rule 8).
    case unreserved = "unreserved"
    /// What was reserved stays so.
    case leakedReservation = "leaked-reservation"
    /// States change without a row of history (rule 3).
    case missingHistory = "missing-history"
    /// The placement does not move with the state (rule 3).
    case unmovedPlacement = "unmoved-placement"
    /// A lease never ends.
    case endlessLease = "endless-lease"
    /// Nothing keeps a server from a second migration (rule 1): neither the unique index, nor the look for an unfinished one, nor the
    /// server's status, which each refuse it.
    case secondMigration = "second-migration"
    /// Cleanups are not written down.
    case missingCleanup = "missing-cleanup"

    /// What becomes of a statement on its way to the database; nil when it does not get there.
    func twist(_ text: String) -> String? {
        switch self {
        case .epochlessStore:
            return text.replacingOccurrences(
                of: "AND epoch = ? AND lease_owner = ? AND active = 1", with: "AND ? > 0 AND ? <> '' AND active = 1"
            ).replacingOccurrences(of: "WHERE id = ? AND epoch = ?", with: "WHERE id = ? AND ? > 0")
        case .unreserved where text.contains("INSERT INTO reserv"): return nil
        case .leakedReservation where text.contains("DELETE FROM reservations"): return nil
        case .missingHistory where text.contains("INSERT INTO transitions"): return nil
        case .missingCleanup where text.contains("INSERT INTO cleanups"): return nil
        case .unmovedPlacement where text.hasPrefix("UPDATE servers"):
            return text.replacingOccurrences(of: "host_id = ?", with: "host_id = CASE WHEN ? = '' THEN '' ELSE host_id END")
        case .endlessLease: return text.replacingOccurrences(of: "lease_until = CAST", with: "lease_until = 1000000000 + CAST")
        case .secondMigration where text.hasPrefix("SELECT") && text.contains("server_id = ? AND finished_at IS NULL"): return nil
        case .secondMigration where text.hasPrefix("SELECT name, status, host_id, epoch"):
            return text.replacingOccurrences(
                of: "name, status,",
                with: "name, CASE WHEN status IN ('start_migrate', 'migrating', 'live_migrating') THEN 'running' ELSE status END AS status,"
            )
        default: return text
        }
    }
}
