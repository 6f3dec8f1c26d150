package import Fleet

/// `POST /v1/servers/{ref}/migrate-forecast`: a migration as it would be asked for. Nothing is submitted.
package struct ForecastRequest: Hashable, Sendable, Codable {
    /// A live migration; a cold one when neither this nor the rescue is asked for.
    package var liveMigrate: Bool?
    package var rescueMode: Bool?
    /// Id or name of the only host to be considered.
    package var preferHost: String?
    package var skipCPUCheck: Bool?
    package var skipKernelCheck: Bool?
    /// How the CPUs must compare; exact when nil.
    package var cpuCheck: CPUCheck?
    /// MB/s (10⁶ bytes a second) over disk and memory together; nil is without limit.
    package var maxBandwidthMB: Int64?
    package var maxDowntimeMS: Int64?
    package var quicklyFinish: Bool?
    package var autoConverge: Bool?
    package var postCopy: Bool?
    package var enableTLS: Bool?
    /// Seconds that an attempt may take.
    package var timeoutS: Int64?
    /// False: only where it could go, at once; nothing is measured.
    package var measure: Bool?

    package init(
        liveMigrate: Bool? = nil, rescueMode: Bool? = nil, preferHost: String? = nil, skipCPUCheck: Bool? = nil,
        skipKernelCheck: Bool? = nil, cpuCheck: CPUCheck? = nil, maxBandwidthMB: Int64? = nil, maxDowntimeMS: Int64? = nil,
        quicklyFinish: Bool? = nil, autoConverge: Bool? = nil, postCopy: Bool? = nil, enableTLS: Bool? = nil, timeoutS: Int64? = nil,
        measure: Bool? = nil
    ) {
        self.liveMigrate = liveMigrate
        self.rescueMode = rescueMode
        self.preferHost = preferHost
        self.skipCPUCheck = skipCPUCheck
        self.skipKernelCheck = skipKernelCheck
        self.cpuCheck = cpuCheck
        self.maxBandwidthMB = maxBandwidthMB
        self.maxDowntimeMS = maxDowntimeMS
        self.quicklyFinish = quicklyFinish
        self.autoConverge = autoConverge
        self.postCopy = postCopy
        self.enableTLS = enableTLS
        self.timeoutS = timeoutS
        self.measure = measure
    }

    package enum CodingKeys: String, CodingKey, CaseIterable {
        case liveMigrate = "live_migrate"
        case rescueMode = "rescue_mode"
        case preferHost = "prefer_host"
        case skipCPUCheck = "skip_cpu_check"
        case skipKernelCheck = "skip_kernel_check"
        case cpuCheck = "cpu_check"
        case maxBandwidthMB = "max_bandwidth_mb"
        case maxDowntimeMS = "max_downtime_ms"
        case quicklyFinish = "quickly_finish"
        case autoConverge = "auto_converge"
        case postCopy = "post_copy"
        case enableTLS = "enable_tls"
        case timeoutS = "timeout_s"
        case measure
    }
}

/// Where a server could go, why not elsewhere, and what the migration to the best host would take.
package struct ForecastView: Hashable, Sendable, Codable {
    package var server: Named
    package var mode: Mode
    package var sourceHost: Named
    /// Best first.
    package var candidates: [CandidateView]
    /// Every other host.
    package var rejected: [RejectionView]
    /// Of a migration to the first candidate; nil without one, and where nothing could be measured.
    package var estimate: EstimateView?
    /// What a person should know beside the figures.
    package var notes: [String]

    package init(
        server: Named, mode: Mode, sourceHost: Named, candidates: [CandidateView], rejected: [RejectionView],
        estimate: EstimateView? = nil, notes: [String] = []
    ) {
        self.server = server
        self.mode = mode
        self.sourceHost = sourceHost
        self.candidates = candidates
        self.rejected = rejected
        self.estimate = estimate
        self.notes = notes
    }

    package enum CodingKeys: String, CodingKey, CaseIterable {
        case server, mode
        case sourceHost = "source_host"
        case candidates, rejected, estimate, notes
    }
}

/// A host that could take the server.
package struct CandidateView: Hashable, Sendable, Codable {
    package var host: Named
    /// What may still be promised there before the server comes.
    package var vcpusLeft: Int
    package var memoryLeftMB: Int64
    package var inboundMigrations: Int
    package var outboundMigrations: Int
    /// Attempts to bring a server there that failed within the last hour.
    package var recentFailures: Int

    package init(
        host: Named, vcpusLeft: Int, memoryLeftMB: Int64, inboundMigrations: Int, outboundMigrations: Int, recentFailures: Int
    ) {
        self.host = host
        self.vcpusLeft = vcpusLeft
        self.memoryLeftMB = memoryLeftMB
        self.inboundMigrations = inboundMigrations
        self.outboundMigrations = outboundMigrations
        self.recentFailures = recentFailures
    }

    package enum CodingKeys: String, CodingKey, CaseIterable {
        case host
        case vcpusLeft = "vcpus_left"
        case memoryLeftMB = "memory_left_mb"
        case inboundMigrations = "inbound_migrations"
        case outboundMigrations = "outbound_migrations"
        case recentFailures = "recent_failures"
    }
}

/// A host that cannot, and the first filter that it did not pass.
package struct RejectionView: Hashable, Sendable, Codable {
    package var host: Named
    package var filter: String
    package var wanted: String
    package var found: String

    package init(host: Named, filter: String, wanted: String, found: String) {
        self.host = host
        self.filter = filter
        self.wanted = wanted
        self.found = found
    }

    package enum CodingKeys: String, CodingKey, CaseIterable {
        case host, filter, wanted, found
    }
}

/// What a migration would take.
package struct EstimateView: Hashable, Sendable, Codable {
    package var targetHost: Named
    /// To be sent, every round over memory counted.
    package var diskBytes: Int64
    package var memoryBytes: Int64
    package var diskMS: Int64
    package var memoryMS: Int64
    package var totalMS: Int64
    package var rounds: Int
    package var blackoutMS: Int64
    package var converges: Bool
    /// Per cent of the guest's time that auto-converge would take at the end.
    package var throttlePercent: Int
    package var downtimeLimitMS: Int64
    /// Bytes a second, as measured just now or as the bandwidth asked for allows.
    package var diskRateBytesPerSecond: Int64
    package var memoryRateBytesPerSecond: Int64
    /// Of the guest's memory: what is not zero, and what is another after one second.
    package var memoryUsedBytes: Int64?
    package var dirtyRateBytesPerSecond: Int64?

    package init(
        targetHost: Named, diskBytes: Int64, memoryBytes: Int64, diskMS: Int64, memoryMS: Int64, totalMS: Int64, rounds: Int,
        blackoutMS: Int64, converges: Bool, throttlePercent: Int, downtimeLimitMS: Int64, diskRateBytesPerSecond: Int64,
        memoryRateBytesPerSecond: Int64, memoryUsedBytes: Int64? = nil, dirtyRateBytesPerSecond: Int64? = nil
    ) {
        self.targetHost = targetHost
        self.diskBytes = diskBytes
        self.memoryBytes = memoryBytes
        self.diskMS = diskMS
        self.memoryMS = memoryMS
        self.totalMS = totalMS
        self.rounds = rounds
        self.blackoutMS = blackoutMS
        self.converges = converges
        self.throttlePercent = throttlePercent
        self.downtimeLimitMS = downtimeLimitMS
        self.diskRateBytesPerSecond = diskRateBytesPerSecond
        self.memoryRateBytesPerSecond = memoryRateBytesPerSecond
        self.memoryUsedBytes = memoryUsedBytes
        self.dirtyRateBytesPerSecond = dirtyRateBytesPerSecond
    }

    package enum CodingKeys: String, CodingKey, CaseIterable {
        case targetHost = "target_host"
        case diskBytes = "disk_bytes"
        case memoryBytes = "memory_bytes"
        case diskMS = "disk_ms"
        case memoryMS = "memory_ms"
        case totalMS = "total_ms"
        case rounds
        case blackoutMS = "blackout_ms"
        case converges
        case throttlePercent = "throttle_percent"
        case downtimeLimitMS = "downtime_limit_ms"
        case diskRateBytesPerSecond = "disk_rate_bytes_per_second"
        case memoryRateBytesPerSecond = "memory_rate_bytes_per_second"
        case memoryUsedBytes = "memory_used_bytes"
        case dirtyRateBytesPerSecond = "dirty_rate_bytes_per_second"
    }
}
