package import Fleet

/// A migration as the API shows it.
package struct MigrationView: Hashable, Sendable, Codable {
    package var id: String
    package var server: Named
    package var mode: Mode
    package var state: MigrationState
    package var direction: Direction
    /// 1 from the first `scheduling` on; 0 before.
    package var attempt: Int
    package var maxAttempts: Int
    package var sourceHost: Named
    /// Nil until chosen, and again once a failed attempt has been rolled back.
    package var targetHost: Named?
    package var options: OptionsView
    /// What the rollback under way is for, or why it failed.
    package var reason: Reason?
    /// Somebody asked for it to end.
    package var cancelRequested: Bool
    /// What it waits for, where nothing can be done now.
    package var awaiting: String?
    package var progress: ProgressView?
    package var blackout: BlackoutView?
    package var actor: String
    /// Of those that wait, higher ones begin first; 0 is the usual one.
    package var priority: Int
    package var createdAt: WireTime
    package var finishedAt: WireTime?
    /// When the attempt under way is given up.
    package var deadlineAt: WireTime?
    /// From submit to the end, in milliseconds; nil while it is unfinished.
    package var totalMS: Int64?
    /// Id of the batch that it was submitted in.
    package var batch: String?

    package init(
        id: String, server: Named, mode: Mode, state: MigrationState, direction: Direction, attempt: Int, maxAttempts: Int,
        sourceHost: Named, targetHost: Named? = nil, options: OptionsView = OptionsView(), reason: Reason? = nil,
        cancelRequested: Bool = false, awaiting: String? = nil, progress: ProgressView? = nil, blackout: BlackoutView? = nil,
        actor: String, priority: Int = 0, createdAt: WireTime, finishedAt: WireTime? = nil, deadlineAt: WireTime? = nil,
        totalMS: Int64? = nil, batch: String? = nil
    ) {
        self.id = id
        self.server = server
        self.mode = mode
        self.state = state
        self.direction = direction
        self.attempt = attempt
        self.maxAttempts = maxAttempts
        self.sourceHost = sourceHost
        self.targetHost = targetHost
        self.options = options
        self.reason = reason
        self.cancelRequested = cancelRequested
        self.awaiting = awaiting
        self.progress = progress
        self.blackout = blackout
        self.actor = actor
        self.priority = priority
        self.createdAt = createdAt
        self.finishedAt = finishedAt
        self.deadlineAt = deadlineAt
        self.totalMS = totalMS
        self.batch = batch
    }

    package enum CodingKeys: String, CodingKey, CaseIterable {
        case id, server, mode, state, direction, attempt
        case maxAttempts = "max_attempts"
        case sourceHost = "source_host"
        case targetHost = "target_host"
        case options, reason
        case cancelRequested = "cancel_requested"
        case awaiting, progress, blackout, actor, priority
        case createdAt = "created_at"
        case finishedAt = "finished_at"
        case deadlineAt = "deadline_at"
        case totalMS = "total_ms"
        case batch
    }
}

/// How far a migration is. Bytes, and bytes a second.
package struct ProgressView: Hashable, Sendable, Codable {
    package var diskTotalBytes: Int64
    package var diskDoneBytes: Int64
    package var memoryTotalBytes: Int64
    /// Still to send in this round.
    package var memoryRemainingBytes: Int64
    /// Sent over all rounds.
    package var memoryTransferredBytes: Int64
    package var rateBytesPerSecond: Int64
    package var dirtyRateBytesPerSecond: Int64
    /// Passes over memory.
    package var round: Int64
    /// Per cent of its time that auto-converge takes from the guest.
    package var throttlePercent: Int64
    /// Milliseconds until the end by the present rates; nil when there is nothing to go by.
    package var etaMS: Int64?

    package init(
        diskTotalBytes: Int64 = 0, diskDoneBytes: Int64 = 0, memoryTotalBytes: Int64 = 0, memoryRemainingBytes: Int64 = 0,
        memoryTransferredBytes: Int64 = 0, rateBytesPerSecond: Int64 = 0, dirtyRateBytesPerSecond: Int64 = 0, round: Int64 = 0,
        throttlePercent: Int64 = 0, etaMS: Int64? = nil
    ) {
        self.diskTotalBytes = diskTotalBytes
        self.diskDoneBytes = diskDoneBytes
        self.memoryTotalBytes = memoryTotalBytes
        self.memoryRemainingBytes = memoryRemainingBytes
        self.memoryTransferredBytes = memoryTransferredBytes
        self.rateBytesPerSecond = rateBytesPerSecond
        self.dirtyRateBytesPerSecond = dirtyRateBytesPerSecond
        self.round = round
        self.throttlePercent = throttlePercent
        self.etaMS = etaMS
    }

    package enum CodingKeys: String, CodingKey, CaseIterable {
        case diskTotalBytes = "disk_total_bytes"
        case diskDoneBytes = "disk_done_bytes"
        case memoryTotalBytes = "memory_total_bytes"
        case memoryRemainingBytes = "memory_remaining_bytes"
        case memoryTransferredBytes = "memory_transferred_bytes"
        case rateBytesPerSecond = "rate_bytes_per_second"
        case dirtyRateBytesPerSecond = "dirty_rate_bytes_per_second"
        case round
        case throttlePercent = "throttle_percent"
        case etaMS = "eta_ms"
    }
}

/// The time in which neither guest ran, split by what it went to; microseconds (see ``Blackout``).
package struct BlackoutView: Hashable, Sendable, Codable {
    package var lastPassUS: Int64
    package var diskDrainUS: Int64
    package var deviceStateUS: Int64
    package var handoverUS: Int64
    package var resumeUS: Int64
    /// STOP of the source until the source learnt that the target runs.
    package var totalUS: Int64

    package init(lastPassUS: Int64, diskDrainUS: Int64, deviceStateUS: Int64, handoverUS: Int64, resumeUS: Int64, totalUS: Int64) {
        self.lastPassUS = lastPassUS
        self.diskDrainUS = diskDrainUS
        self.deviceStateUS = deviceStateUS
        self.handoverUS = handoverUS
        self.resumeUS = resumeUS
        self.totalUS = totalUS
    }

    package enum CodingKeys: String, CodingKey, CaseIterable {
        case lastPassUS = "last_pass_us"
        case diskDrainUS = "disk_drain_us"
        case deviceStateUS = "device_state_us"
        case handoverUS = "handover_us"
        case resumeUS = "resume_us"
        case totalUS = "total_us"
    }
}

/// One row of a migration's history.
package struct TransitionView: Hashable, Sendable, Codable {
    package var sequence: Int64
    /// Id of the migration.
    package var migration: String
    package var server: Named
    package var mode: Mode
    package var at: WireTime
    package var from: MigrationState?
    package var to: MigrationState
    package var direction: Direction
    package var attempt: Int
    package var epoch: Int64
    package var sourceHost: Named
    package var targetHost: Named?
    /// The worker or person it is owed to.
    package var actor: String
    package var step: String?
    package var reason: Reason?
    /// Numbers that belong to it, with their units in their names.
    package var numbers: [String: Int64]
    /// SHA-256 in hexadecimal over the row and the one before it of its migration; nil in rows from before there were hashes.
    package var hash: String?

    package init(
        sequence: Int64, migration: String, server: Named, mode: Mode, at: WireTime, from: MigrationState?, to: MigrationState,
        direction: Direction, attempt: Int, epoch: Int64,
        sourceHost: Named, targetHost: Named? = nil, actor: String, step: String? = nil, reason: Reason? = nil,
        numbers: [String: Int64] = [:], hash: String? = nil
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
        self.sourceHost = sourceHost
        self.targetHost = targetHost
        self.actor = actor
        self.step = step
        self.reason = reason
        self.numbers = numbers
        self.hash = hash
    }

    package enum CodingKeys: String, CodingKey, CaseIterable {
        case sequence, migration, server, mode, at, from, to, direction, attempt, epoch
        case sourceHost = "source_host"
        case targetHost = "target_host"
        case actor, step, reason, numbers, hash
    }
}

/// Something left on a host that must go and is retried until it is gone.
package struct CleanupView: Hashable, Sendable, Codable {
    package var id: String
    package var kind: Cleanup.Kind
    package var migration: String
    package var server: Named
    package var host: Named
    package var attempt: Int
    package var tries: Int
    package var dueAt: WireTime
    package var lastError: String?

    package init(
        id: String, kind: Cleanup.Kind, migration: String, server: Named, host: Named, attempt: Int, tries: Int, dueAt: WireTime,
        lastError: String? = nil
    ) {
        self.id = id
        self.kind = kind
        self.migration = migration
        self.server = server
        self.host = host
        self.attempt = attempt
        self.tries = tries
        self.dueAt = dueAt
        self.lastError = lastError
    }

    package enum CodingKeys: String, CodingKey, CaseIterable {
        case id, kind, migration, server, host, attempt, tries
        case dueAt = "due_at"
        case lastError = "last_error"
    }
}
