/// What the one who asked for a migration may set. What a mode has no use for is left at its default.
package struct MigrationOptions: Hashable, Sendable, Codable {
    /// The only host to be considered, by id. As in climc, a preference that cannot be met is a failure.
    package var preferHost: HostID?
    /// MB/s (10⁶ bytes a second) over disk and memory together; nil is without limit.
    package var maxBandwidthMB: Int64?
    /// Cold and rescue: the server is started on its new host.
    package var autoStart: Bool
    /// Rescue: somebody vouches that the source host is off.
    package var confirmHostDown: Bool
    /// Rescue: the number of the source host's lease that ended for good, which proves that no guest runs there. See ``HostGuard``.
    package var provenByLease: Int64?

    package var cpuCheck: CPUCheck
    package var skipCPUCheck: Bool
    package var skipKernelCheck: Bool
    /// Disks and memory travel under TLS, both ends proven.
    package var enableTLS: Bool
    /// The highest downtime limit that is set by itself, in milliseconds: it begins at 30 and is doubled up to this while passes over
    /// memory leave no less to send than the ones before. See ``limitDowntime(toMS:)``.
    package var downtimeLimitMS: Int64
    /// When memory does not converge within `downtimeLimitMS`, the limit rises to QEMU's own estimate of what it takes, at most to
    /// `maxDowntimeMS`: each time two more passes at full throttle, or without auto-converge at the highest limit, brought nothing.
    package var quicklyFinish: Bool
    /// How far quickly-finish may raise the downtime limit, in milliseconds; of no meaning without it.
    package var maxDowntimeMS: Int64
    /// The guest is slowed down, stepwise, when it dirties memory faster than that can be sent.
    package var autoConverge: Bool
    /// When memory does not converge, the target runs the guest and fetches the rest.
    package var postCopy: Bool
    /// Parallel memory streams; nil is one, by the agents' own socket.
    package var multifd: Int?
    /// What an attempt that failed left on its target is kept, marked, for somebody to look at.
    package var keepDestGuestOnFailed: Bool
    /// The medium is taken out of the guest's cdrom before it moves.
    package var ejectCDROM: Bool
    /// An attempt in which no byte moves for so many seconds is given up, and another target taken.
    package var stallTimeoutS: Int64
    /// An attempt that takes longer, in seconds, ends the migration; nil is a deadline by what there is to move, see ``CompletionDeadline``.
    package var timeoutS: Int64?

    package init(
        preferHost: HostID? = nil, maxBandwidthMB: Int64? = nil, autoStart: Bool = false, confirmHostDown: Bool = false,
        provenByLease: Int64? = nil, cpuCheck: CPUCheck = .exact, skipCPUCheck: Bool = false, skipKernelCheck: Bool = false,
        enableTLS: Bool = false,
        downtimeLimitMS: Int64 = 300, quicklyFinish: Bool = false, maxDowntimeMS: Int64 = 5000, autoConverge: Bool = true,
        postCopy: Bool = false, multifd: Int? = nil, keepDestGuestOnFailed: Bool = false, ejectCDROM: Bool = false,
        stallTimeoutS: Int64 = 60, timeoutS: Int64? = nil
    ) {
        self.preferHost = preferHost
        self.maxBandwidthMB = maxBandwidthMB
        self.autoStart = autoStart
        self.confirmHostDown = confirmHostDown
        self.provenByLease = provenByLease
        self.cpuCheck = cpuCheck
        self.skipCPUCheck = skipCPUCheck
        self.skipKernelCheck = skipKernelCheck
        self.enableTLS = enableTLS
        self.downtimeLimitMS = downtimeLimitMS
        self.quicklyFinish = quicklyFinish
        self.maxDowntimeMS = maxDowntimeMS
        self.autoConverge = autoConverge
        self.postCopy = postCopy
        self.multifd = multifd
        self.keepDestGuestOnFailed = keepDestGuestOnFailed
        self.ejectCDROM = ejectCDROM
        self.stallTimeoutS = stallTimeoutS
        self.timeoutS = timeoutS
    }

    /// What `--max-downtime-ms` means: with quickly-finish the ceiling of its raises (and the highest limit before them, should that be
    /// above it); without it the highest limit itself.
    package mutating func limitDowntime(toMS limit: Int64) {
        if quicklyFinish {
            maxDowntimeMS = limit
            downtimeLimitMS = min(downtimeLimitMS, limit)
        } else {
            downtimeLimitMS = limit
        }
    }

    /// Takes what an older Godwit wrote: an option that it did not have is at its default.
    package init(from decoder: any Decoder) throws {
        let values = try decoder.container(keyedBy: CodingKeys.self)
        func value<Value: Decodable>(_ key: CodingKeys, or standard: Value) throws -> Value {
            try values.decodeIfPresent(Value.self, forKey: key) ?? standard
        }
        let standard = MigrationOptions()
        self.init(
            preferHost: try values.decodeIfPresent(HostID.self, forKey: .preferHost),
            maxBandwidthMB: try values.decodeIfPresent(Int64.self, forKey: .maxBandwidthMB),
            autoStart: try value(.autoStart, or: standard.autoStart),
            confirmHostDown: try value(.confirmHostDown, or: standard.confirmHostDown),
            provenByLease: try values.decodeIfPresent(Int64.self, forKey: .provenByLease),
            cpuCheck: try value(.cpuCheck, or: standard.cpuCheck),
            skipCPUCheck: try value(.skipCPUCheck, or: standard.skipCPUCheck),
            skipKernelCheck: try value(.skipKernelCheck, or: standard.skipKernelCheck),
            enableTLS: try value(.enableTLS, or: standard.enableTLS),
            downtimeLimitMS: try value(.downtimeLimitMS, or: standard.downtimeLimitMS),
            quicklyFinish: try value(.quicklyFinish, or: standard.quicklyFinish),
            maxDowntimeMS: try value(.maxDowntimeMS, or: standard.maxDowntimeMS),
            autoConverge: try value(.autoConverge, or: standard.autoConverge),
            postCopy: try value(.postCopy, or: standard.postCopy),
            multifd: try values.decodeIfPresent(Int.self, forKey: .multifd),
            keepDestGuestOnFailed: try value(.keepDestGuestOnFailed, or: standard.keepDestGuestOnFailed),
            ejectCDROM: try value(.ejectCDROM, or: standard.ejectCDROM),
            stallTimeoutS: try value(.stallTimeoutS, or: standard.stallTimeoutS),
            timeoutS: try values.decodeIfPresent(Int64.self, forKey: .timeoutS))
    }
}
