import Client
import Fleet

/// A migration as it is asked for: what the body of a request says, not yet held against anything.
struct MigrationRequest {
    let mode: Mode
    /// Without the host that is preferred, which is named as people name hosts.
    let options: MigrationOptions
    let preferHost: String?

    /// `POST …/live-migrate`.
    static func live(_ fields: inout Fields) throws -> MigrationRequest {
        let preferHost = try fields.string("prefer_host")
        let standard = MigrationOptions()
        var options = MigrationOptions(
            maxBandwidthMB: try bandwidth(&fields),
            cpuCheck: try fields.choice("cpu_check", CPUCheck.self) ?? standard.cpuCheck,
            skipCPUCheck: try fields.boolean("skip_cpu_check") ?? false,
            skipKernelCheck: try fields.boolean("skip_kernel_check") ?? false,
            enableTLS: try fields.boolean("enable_tls") ?? false,
            quicklyFinish: try fields.boolean("quickly_finish") ?? false,
            autoConverge: try fields.boolean("auto_converge") ?? standard.autoConverge,
            postCopy: try fields.boolean("post_copy") ?? false,
            multifd: try fields.integer("multifd", in: MigrationBounds.multifd, unit: "streams").map(Int.init),
            keepDestGuestOnFailed: try fields.boolean("keep_dest_guest_on_failed") ?? false,
            ejectCDROM: try fields.boolean("eject_cdrom") ?? false,
            stallTimeoutS: try stallTimeout(&fields) ?? standard.stallTimeoutS,
            timeoutS: try timeout(&fields))
        if let limit = try fields.integer("max_downtime_ms", in: MigrationBounds.downtimeMS, unit: "milliseconds") {
            options.limitDowntime(toMS: limit)
        }
        try fields.finish()
        guard !(options.skipCPUCheck && options.cpuCheck == .features) else {
            throw Problem.invalid("skip_cpu_check", "skip_cpu_check leaves nothing for cpu_check to do; give one of the two.")
        }
        guard options.multifd == nil || !options.postCopy else {
            throw Problem.invalid("multifd", "multifd and post_copy do not go together in QEMU 7.2; give one of the two.")
        }
        return MigrationRequest(mode: .live, options: options, preferHost: preferHost)
    }

    /// `POST …/migrate`: cold, or a rescue.
    static func coldOrRescue(_ fields: inout Fields) throws -> MigrationRequest {
        let preferHost = try fields.string("prefer_host")
        let rescue = try fields.boolean("rescue_mode") ?? false
        let standard = MigrationOptions()
        let (stall, timeout) = (try stallTimeout(&fields), try timeout(&fields))
        let options = MigrationOptions(
            maxBandwidthMB: try bandwidth(&fields), autoStart: try fields.boolean("auto_start") ?? false,
            confirmHostDown: try fields.boolean("confirm_host_down") ?? false, enableTLS: try fields.boolean("enable_tls") ?? false,
            stallTimeoutS: stall ?? standard.stallTimeoutS, timeoutS: timeout)
        try fields.finish()
        if rescue {
            for (given, field) in [
                (options.maxBandwidthMB != nil, "max_bandwidth_mb"), (options.enableTLS, "enable_tls"), (stall != nil, "stall_timeout_s"),
            ] where given {
                throw Problem.invalid(field, "\(field) has no meaning for a rescue, which copies nothing; leave it out.")
            }
        } else if options.confirmHostDown {
            throw Problem.invalid(
                "confirm_host_down",
                "confirm_host_down has a meaning only with rescue_mode: a cold migration reads the disks from a host that is up; leave it out."
            )
        }
        return MigrationRequest(mode: rescue ? .rescue : .cold, options: options, preferHost: preferHost)
    }

    private static func bandwidth(_ fields: inout Fields) throws -> Int64? {
        try fields.integer("max_bandwidth_mb", in: MigrationBounds.bandwidthMB, unit: "MB/s")
    }

    private static func stallTimeout(_ fields: inout Fields) throws -> Int64? {
        try fields.integer("stall_timeout_s", in: MigrationBounds.stallTimeoutS, unit: "seconds")
    }

    private static func timeout(_ fields: inout Fields) throws -> Int64? {
        try fields.integer("timeout_s", in: MigrationBounds.timeoutS, unit: "seconds")
    }
}
