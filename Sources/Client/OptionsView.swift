package import Fleet

/// What the one who asked for a migration set; see ``MigrationOptions``. All of them, those at their default too.
package struct OptionsView: Hashable, Sendable, Codable {
    package var preferHost: Named?
    /// MB/s (10⁶ bytes a second) over disk and memory together; nil is without limit.
    package var maxBandwidthMB: Int64?
    package var autoStart: Bool
    package var confirmHostDown: Bool
    /// A rescue of a host that is proven dead: the number of its lease that ended for good.
    package var provenByLease: Int64?
    package var cpuCheck: CPUCheck
    package var skipCPUCheck: Bool
    package var skipKernelCheck: Bool
    package var enableTLS: Bool
    /// The longest last pass that may be planned for, in milliseconds.
    package var downtimeLimitMS: Int64
    package var quicklyFinish: Bool
    /// How far the downtime limit may be raised, in milliseconds.
    package var maxDowntimeMS: Int64
    package var autoConverge: Bool
    package var postCopy: Bool
    /// Parallel memory streams; nil is one.
    package var multifd: Int?
    package var keepDestGuestOnFailed: Bool
    package var ejectCDROM: Bool
    /// Seconds in which no byte moves until an attempt fails.
    package var stallTimeoutS: Int64
    /// Seconds that an attempt may take; nil is by what there is to move.
    package var timeoutS: Int64?

    /// - Parameter preferHost: That of the options, with its name.
    package init(_ options: MigrationOptions = MigrationOptions(), preferHost: Named? = nil) {
        self.preferHost = preferHost
        self.maxBandwidthMB = options.maxBandwidthMB
        self.autoStart = options.autoStart
        self.confirmHostDown = options.confirmHostDown
        self.provenByLease = options.provenByLease
        self.cpuCheck = options.cpuCheck
        self.skipCPUCheck = options.skipCPUCheck
        self.skipKernelCheck = options.skipKernelCheck
        self.enableTLS = options.enableTLS
        self.downtimeLimitMS = options.downtimeLimitMS
        self.quicklyFinish = options.quicklyFinish
        self.maxDowntimeMS = options.maxDowntimeMS
        self.autoConverge = options.autoConverge
        self.postCopy = options.postCopy
        self.multifd = options.multifd
        self.keepDestGuestOnFailed = options.keepDestGuestOnFailed
        self.ejectCDROM = options.ejectCDROM
        self.stallTimeoutS = options.stallTimeoutS
        self.timeoutS = options.timeoutS
    }

    package enum CodingKeys: String, CodingKey, CaseIterable {
        case preferHost = "prefer_host"
        case maxBandwidthMB = "max_bandwidth_mb"
        case autoStart = "auto_start"
        case confirmHostDown = "confirm_host_down"
        case provenByLease = "proven_by_lease"
        case cpuCheck = "cpu_check"
        case skipCPUCheck = "skip_cpu_check"
        case skipKernelCheck = "skip_kernel_check"
        case enableTLS = "enable_tls"
        case downtimeLimitMS = "downtime_limit_ms"
        case quicklyFinish = "quickly_finish"
        case maxDowntimeMS = "max_downtime_ms"
        case autoConverge = "auto_converge"
        case postCopy = "post_copy"
        case multifd
        case keepDestGuestOnFailed = "keep_dest_guest_on_failed"
        case ejectCDROM = "eject_cdrom"
        case stallTimeoutS = "stall_timeout_s"
        case timeoutS = "timeout_s"
    }
}
