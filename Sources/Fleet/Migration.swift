/// The persisted task: one server, one mode, one life from `pending` to `ready` or `failed`.
package struct Migration: Hashable, Sendable, Codable {
    package var id: MigrationID
    package var server: ServerID
    package var mode: Mode
    package var options: MigrationOptions
    package var state: MigrationState
    package var direction: Direction
    /// The server's epoch under which it was claimed last.
    package var epoch: Epoch
    /// 1 from the first `scheduling` on; 0 before.
    package var attempt: Int
    package var maxAttempts: Int
    package var source: HostID
    /// Chosen in `scheduling`; nil before, and again once a failed attempt has been rolled back.
    package var target: HostID?
    /// Hosts left out of the next placement, each with why.
    package var excluded: [HostID: Reason]
    /// What the rollback under way is for, or why it failed; while another attempt is made, what the one before failed of.
    package var reason: Reason?
    /// What another try could change about the reason; nil unless it rolls back or failed.
    package var remedy: Fault.Remedy?
    /// Someone asked for it to end; whoever holds the lease sees it and rolls back.
    package var cancelRequested: Bool
    /// What it waits for, where nothing can be done now.
    package var awaiting: String?
    package var progress: Progress?
    package var blackout: Blackout?
    package var actor: String
    /// Of those that wait, higher ones begin first.
    package var priority: Int
    package var createdAt: Timestamp
    /// Not claimed before.
    package var dueAt: Timestamp
    package var finishedAt: Timestamp?
    /// The completion deadline of the attempt under way; nil before its first step and between two attempts.
    package var deadlineAt: Timestamp?
    /// The server's status when the migration was accepted.
    package var statusBefore: ServerStatus?
    /// The batch that it was submitted in.
    package var batch: BatchID?

    package init(
        id: MigrationID, server: ServerID, mode: Mode, options: MigrationOptions, state: MigrationState = .pending,
        direction: Direction = .forward, epoch: Epoch, attempt: Int = 0, maxAttempts: Int = 3, source: HostID, target: HostID? = nil,
        excluded: [HostID: Reason] = [:], reason: Reason? = nil, remedy: Fault.Remedy? = nil, cancelRequested: Bool = false,
        awaiting: String? = nil, progress: Progress? = nil, blackout: Blackout? = nil, actor: String, priority: Int = 0,
        createdAt: Timestamp,
        dueAt: Timestamp, finishedAt: Timestamp? = nil, deadlineAt: Timestamp? = nil, statusBefore: ServerStatus? = nil,
        batch: BatchID? = nil
    ) {
        self.id = id
        self.server = server
        self.mode = mode
        self.options = options
        self.state = state
        self.direction = direction
        self.epoch = epoch
        self.attempt = attempt
        self.maxAttempts = maxAttempts
        self.source = source
        self.target = target
        self.excluded = excluded
        self.reason = reason
        self.remedy = remedy
        self.cancelRequested = cancelRequested
        self.awaiting = awaiting
        self.progress = progress
        self.blackout = blackout
        self.actor = actor
        self.priority = priority
        self.createdAt = createdAt
        self.dueAt = dueAt
        self.finishedAt = finishedAt
        self.deadlineAt = deadlineAt
        self.statusBefore = statusBefore
        self.batch = batch
    }
}

/// How a live migration's target must compare with its source's CPU.
package enum CPUCheck: String, Sendable, Codable, CaseIterable {
    /// The same model and the same microcode.
    case exact
    /// The target's QEMU offers every feature that the guest was given.
    case features
}

/// How far a migration is. Bytes; rates in bytes a second.
package struct Progress: Hashable, Sendable, Codable {
    /// Bytes a second at which pages of zeroes go, which are told of and not sent (measured with QEMU 7.2 at both ends: 0.47 ms a MiB).
    package static let zeroRate = 2e9

    package var diskTotal: Int64
    package var diskDone: Int64
    package var memoryTotal: Int64
    /// Still to send in this round.
    package var memoryRemaining: Int64
    /// Sent over all rounds (QAPI MigrationStats.transferred).
    package var memoryTransferred: Int64
    package var rate: Int64
    package var dirtyRate: Int64
    /// Passes over memory (QAPI MigrationStats.dirty-sync-count).
    package var round: Int64
    /// Per cent of its time that auto-converge takes from the guest.
    package var throttle: Int64
    /// Milliseconds until the end by the present rates; nil when there is nothing to go by.
    package var etaMS: Int64?

    package init(
        diskTotal: Int64 = 0, diskDone: Int64 = 0, memoryTotal: Int64 = 0, memoryRemaining: Int64 = 0, memoryTransferred: Int64 = 0,
        rate: Int64 = 0, dirtyRate: Int64 = 0, round: Int64 = 0, throttle: Int64 = 0, etaMS: Int64? = nil
    ) {
        self.diskTotal = diskTotal
        self.diskDone = diskDone
        self.memoryTotal = memoryTotal
        self.memoryRemaining = memoryRemaining
        self.memoryTransferred = memoryTransferred
        self.rate = rate
        self.dirtyRate = dirtyRate
        self.round = round
        self.throttle = throttle
        self.etaMS = etaMS
    }
}

/// The time in which neither guest ran, split by what it went to. Microseconds, all on the source host's clock but for the
/// parts that the target measured on its own (ownership, resume): no two clocks are ever subtracted from each other.
package struct Blackout: Hashable, Sendable, Codable {
    /// STOP of the source to pre-switchover: the last disk flush and what QEMU does before it asks.
    package var lastPassUS: Int64
    /// Ending the mirrors and the target's exports.
    package var diskDrainUS: Int64
    /// `migrate-continue` to `completed`: last dirty pages and device state.
    package var deviceStateUS: Int64
    /// The source's durable handover record, the call to the target, and the target's durable ownership record.
    package var handoverUS: Int64
    /// The target's `cont` until its RESUME.
    package var resumeUS: Int64
    /// STOP of the source until the source learnt that the target runs: at least as long as the guest stood still.
    package var totalUS: Int64

    package init(lastPassUS: Int64, diskDrainUS: Int64, deviceStateUS: Int64, handoverUS: Int64, resumeUS: Int64, totalUS: Int64) {
        self.lastPassUS = lastPassUS
        self.diskDrainUS = diskDrainUS
        self.deviceStateUS = deviceStateUS
        self.handoverUS = handoverUS
        self.resumeUS = resumeUS
        self.totalUS = totalUS
    }
}

/// One row of a migration's history: a change of state, or of direction, kept for ever.
package struct Transition: Hashable, Sendable, Codable {
    package var sequence: Int64
    package var migration: MigrationID
    package var server: ServerID
    package var mode: Mode
    package var at: Timestamp
    package var from: MigrationState?
    package var to: MigrationState
    package var direction: Direction
    package var attempt: Int
    package var epoch: Epoch
    package var source: HostID
    package var target: HostID?
    /// The worker or person it is owed to.
    package var actor: String
    package var step: String?
    package var reason: Reason?
    /// Numbers that belong to it: bytes, milliseconds, as JSON-ready names and values.
    package var numbers: [String: Int64]
    /// SHA-256 in hexadecimal over this row and the one before it of its migration; nil in rows from before there were hashes.
    package var hash: String?

    package init(
        sequence: Int64, migration: MigrationID, server: ServerID, mode: Mode, at: Timestamp, from: MigrationState?, to: MigrationState,
        direction: Direction, attempt: Int, epoch: Epoch, source: HostID, target: HostID?, actor: String, step: String?,
        reason: Reason?, numbers: [String: Int64], hash: String? = nil
    ) {
        self.sequence = sequence
        self.migration = migration
        self.server = server
        self.mode = mode
        self.at = at
        self.from = from
        self.to = to
        self.direction = direction
        self.attempt = attempt
        self.epoch = epoch
        self.source = source
        self.target = target
        self.actor = actor
        self.step = step
        self.reason = reason
        self.numbers = numbers
        self.hash = hash
    }
}
