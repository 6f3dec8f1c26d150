package import Fleet

/// `POST /v1/servers/{ref}/migrate`: a cold migration of a server that is off, or with ``rescueMode`` a rescue from a host that is down.
package struct MigrateRequest: Hashable, Sendable, Codable {
    /// Id or name of the only host to be considered.
    package var preferHost: String?
    /// The server is started on its new host.
    package var autoStart: Bool?
    /// Only the placement moves, all disks being on shared storages and the source host down.
    package var rescueMode: Bool?
    /// Somebody vouches that the source host is off; a rescue needs it.
    package var confirmHostDown: Bool?
    /// MB/s (10⁶ bytes a second) over disk and memory together; at least 1; nil is without limit.
    package var maxBandwidthMB: Int64?
    /// Disks and memory travel under TLS.
    package var enableTLS: Bool?
    /// Seconds in which no byte moves until an attempt fails; 60 when nil.
    package var stallTimeoutS: Int64?
    /// Seconds that an attempt may take; by what there is to move when nil.
    package var timeoutS: Int64?
    /// ``MigrationBounds/priority``; 0 when nil.
    package var priority: Int?

    package init(
        preferHost: String? = nil, autoStart: Bool? = nil, rescueMode: Bool? = nil, confirmHostDown: Bool? = nil,
        maxBandwidthMB: Int64? = nil, enableTLS: Bool? = nil, stallTimeoutS: Int64? = nil, timeoutS: Int64? = nil,
        priority: Int? = nil
    ) {
        self.preferHost = preferHost
        self.autoStart = autoStart
        self.rescueMode = rescueMode
        self.confirmHostDown = confirmHostDown
        self.maxBandwidthMB = maxBandwidthMB
        self.enableTLS = enableTLS
        self.stallTimeoutS = stallTimeoutS
        self.timeoutS = timeoutS
        self.priority = priority
    }

    package enum CodingKeys: String, CodingKey, CaseIterable {
        case preferHost = "prefer_host"
        case autoStart = "auto_start"
        case rescueMode = "rescue_mode"
        case confirmHostDown = "confirm_host_down"
        case maxBandwidthMB = "max_bandwidth_mb"
        case enableTLS = "enable_tls"
        case stallTimeoutS = "stall_timeout_s"
        case timeoutS = "timeout_s"
        case priority
    }
}

/// `POST /v1/servers/{ref}/live-migrate`; see ``MigrationOptions`` for what each means.
package struct LiveMigrateRequest: Hashable, Sendable, Codable {
    /// Id or name of the only host to be considered.
    package var preferHost: String?
    /// MB/s (10⁶ bytes a second) over disk and memory together; at least 1; nil is without limit.
    package var maxBandwidthMB: Int64?
    /// `exact` when nil.
    package var cpuCheck: CPUCheck?
    package var skipCPUCheck: Bool?
    package var skipKernelCheck: Bool?
    /// Disks and memory travel under TLS.
    package var enableTLS: Bool?
    package var quicklyFinish: Bool?
    /// Milliseconds; see ``MigrationOptions/limitDowntime(toMS:)``. When nil 300, and 5000 with ``quicklyFinish``.
    package var maxDowntimeMS: Int64?
    /// True when nil.
    package var autoConverge: Bool?
    package var postCopy: Bool?
    /// Parallel memory streams, 1 to 255.
    package var multifd: Int?
    package var keepDestGuestOnFailed: Bool?
    /// The medium is taken out of the guest's cdrom before it moves.
    package var ejectCDROM: Bool?
    /// Seconds in which no byte moves until an attempt fails; 60 when nil.
    package var stallTimeoutS: Int64?
    /// Seconds that an attempt may take; by what there is to move when nil.
    package var timeoutS: Int64?
    /// ``MigrationBounds/priority``; 0 when nil.
    package var priority: Int?

    package init(
        preferHost: String? = nil, maxBandwidthMB: Int64? = nil, cpuCheck: CPUCheck? = nil, skipCPUCheck: Bool? = nil,
        skipKernelCheck: Bool? = nil, enableTLS: Bool? = nil, quicklyFinish: Bool? = nil,
        maxDowntimeMS: Int64? = nil, autoConverge: Bool? = nil, postCopy: Bool? = nil, multifd: Int? = nil,
        keepDestGuestOnFailed: Bool? = nil, ejectCDROM: Bool? = nil, stallTimeoutS: Int64? = nil, timeoutS: Int64? = nil,
        priority: Int? = nil
    ) {
        self.preferHost = preferHost
        self.maxBandwidthMB = maxBandwidthMB
        self.cpuCheck = cpuCheck
        self.skipCPUCheck = skipCPUCheck
        self.skipKernelCheck = skipKernelCheck
        self.enableTLS = enableTLS
        self.quicklyFinish = quicklyFinish
        self.maxDowntimeMS = maxDowntimeMS
        self.autoConverge = autoConverge
        self.postCopy = postCopy
        self.multifd = multifd
        self.keepDestGuestOnFailed = keepDestGuestOnFailed
        self.ejectCDROM = ejectCDROM
        self.stallTimeoutS = stallTimeoutS
        self.timeoutS = timeoutS
        self.priority = priority
    }

    package enum CodingKeys: String, CodingKey, CaseIterable {
        case preferHost = "prefer_host"
        case maxBandwidthMB = "max_bandwidth_mb"
        case cpuCheck = "cpu_check"
        case skipCPUCheck = "skip_cpu_check"
        case skipKernelCheck = "skip_kernel_check"
        case enableTLS = "enable_tls"
        case quicklyFinish = "quickly_finish"
        case maxDowntimeMS = "max_downtime_ms"
        case autoConverge = "auto_converge"
        case postCopy = "post_copy"
        case multifd
        case keepDestGuestOnFailed = "keep_dest_guest_on_failed"
        case ejectCDROM = "eject_cdrom"
        case stallTimeoutS = "stall_timeout_s"
        case timeoutS = "timeout_s"
        case priority
    }
}

/// `POST /v1/servers/{ref}/set-live-migrate-params`: what changes in a migration under way; what is nil stays. One must be given.
package struct SetLiveMigrateParamsRequest: Hashable, Sendable, Codable {
    /// MB/s over disk and memory together; 0 lifts the limit.
    package var maxBandwidthMB: Int64?
    /// Live only: the downtime limit in milliseconds, at once and for the rest of the migration.
    package var downtimeLimitMS: Int64?
    /// The source host is off for good: a post-copy that waits for it ends, and the guest's memory is given up.
    package var confirmHostDown: Bool?

    package init(maxBandwidthMB: Int64? = nil, downtimeLimitMS: Int64? = nil, confirmHostDown: Bool? = nil) {
        self.maxBandwidthMB = maxBandwidthMB
        self.downtimeLimitMS = downtimeLimitMS
        self.confirmHostDown = confirmHostDown
    }

    package enum CodingKeys: String, CodingKey, CaseIterable {
        case maxBandwidthMB = "max_bandwidth_mb"
        case downtimeLimitMS = "downtime_limit_ms"
        case confirmHostDown = "confirm_host_down"
    }
}
