import ArgumentParser
import Client
import Fleet
import Output

struct ServerLiveMigrate: ControllerCommand {
    static let configuration = CommandConfiguration(
        abstract: "Live-migrate a running server to another host.",
        usage: Usage.line(
            "server-live-migrate",
            [
                "--skip-cpu-check", "--skip-kernel-check", "--enable-tls", "--quickly-finish", "--max-bandwidth-mb MAX_BANDWIDTH_MB",
                "--keep-dest-guest-on-failed", "--prefer-host PREFER_HOST", "--max-downtime-ms N", "--post-copy", "--multifd N",
                "--no-auto-converge", "--cpu-check exact|features", "--eject-cdrom", "--priority N", "--timeout TIME",
                "--stall-timeout TIME", "--wait", "--wait-timeout TIME",
            ], "<ID>"),
        discussion: "Answers when the migration is accepted; follow it with migration-watch, or give --wait.")

    @Argument(help: ArgumentHelp("ID of server, or its name.", valueName: "ID"), completion: Completions.servers)
    var server: String

    @Flag(help: "Skip check CPU mode of the target host.")
    var skipCpuCheck = false

    @Flag(help: "Skip target kernel version check.")
    var skipKernelCheck = false

    @Flag(name: .customLong("enable-tls"), help: "Enable TLS migration: memory and disks travel encrypted, both hosts proven.")
    var enableTLS = false

    @Flag(
        help: """
            Quickly finish: when memory does not converge, the downtime limit is raised to what QEMU estimates, after a few rounds of memory \
            synchronization and at most to --max-downtime-ms.
            """)
    var quicklyFinish = false

    @Option(
        name: .customLong("max-bandwidth-mb"), parsing: .unconditional,
        help: ArgumentHelp(
            "Live migrate max bandwidth, unit MB/s (10⁶ bytes a second) over disks and memory together, 1 to 1000000. No limit when left out.",
            valueName: "MAX_BANDWIDTH_MB"),
        transform: { try Numbers.whole($0, in: MigrationBounds.bandwidthMB, unit: "MB/s") })
    var maxBandwidthMB: Int64?

    @Flag(help: "Do not delete dest guest on migrate failed, for debug.")
    var keepDestGuestOnFailed = false

    @Option(
        help: ArgumentHelp(
            "Server migration prefer host id or name: the only one to be considered. One is chosen when left out.",
            valueName: "PREFER_HOST"), completion: Completions.hosts)
    var preferHost: String?

    @Option(
        name: .customLong("max-downtime-ms"), parsing: .unconditional,
        help: ArgumentHelp(
            "The highest downtime limit in milliseconds, 1 to 2000000: 300 when left out, 5000 with --quickly-finish.", valueName: "N"),
        transform: { try Numbers.whole($0, in: MigrationBounds.downtimeMS, unit: "ms") })
    var maxDowntimeMS: Int64?

    @Flag(
        help: """
            When memory does not converge, let the target run the guest and fetch the rest: a cut then stops the guest until it is mended.
            """)
    var postCopy = false

    @Option(
        parsing: .unconditional,
        help: ArgumentHelp("So many parallel memory streams, 2 to 16; not with --post-copy. One when left out.", valueName: "N"),
        transform: { try Numbers.whole($0, in: MigrationBounds.multifd, unit: "streams") })
    var multifd: Int64?

    @Flag(help: "Never slow the guest down, even if it dirties memory faster than that can be sent.")
    var noAutoConverge = false

    @Option(
        help: ArgumentHelp(
            "exact (the default): the target has the same CPU model and microcode; features: it offers all that the guest was given.",
            valueName: "exact|features"), completion: .list(CPUCheck.allCases.map(\.rawValue)),
        transform: { try Choices.parse($0, as: CPUCheck.self, field: "cpu-check") })
    var cpuCheck: CPUCheck?

    @Flag(name: .customLong("eject-cdrom"), help: "Take the medium out of the guest's cdrom first.")
    var ejectCDROM = false

    @OptionGroup var urgency: PriorityOption
    @OptionGroup var deadlines: DeadlineOptions
    @OptionGroup var waiting: WaitOptions
    @OptionGroup var output: OutputOptions
    @OptionGroup var connection: ConnectionOptions

    func validate() throws {
        if skipCpuCheck && cpuCheck == .features {
            throw ValidationError("--skip-cpu-check leaves nothing for --cpu-check features to do: give one of the two.")
        }
        if multifd != nil && postCopy {
            throw ValidationError("--multifd and --post-copy do not go together in QEMU 7.2: give one of the two.")
        }
    }

    var request: LiveMigrateRequest {
        LiveMigrateRequest(
            preferHost: preferHost, maxBandwidthMB: maxBandwidthMB, cpuCheck: cpuCheck, skipCPUCheck: skipCpuCheck,
            skipKernelCheck: skipKernelCheck, enableTLS: enableTLS, quicklyFinish: quicklyFinish, maxDowntimeMS: maxDowntimeMS,
            autoConverge: !noAutoConverge, postCopy: postCopy, multifd: multifd.map(Int.init),
            keepDestGuestOnFailed: keepDestGuestOnFailed, ejectCDROM: ejectCDROM, stallTimeoutS: deadlines.stallTimeout,
            timeoutS: deadlines.timeout, priority: urgency.priority.map { Int($0) })
    }

    func run(_ client: GodwitClient) async throws {
        let accepted = try await client.liveMigrate(server, request)
        try await MigrationWatching.show(accepted, client, waiting, output.output)
    }
}
