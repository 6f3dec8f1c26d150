import ArgumentParser
import Client
import Fleet
import Output

struct ServerMigrateForecast: ControllerCommand {
    static let configuration = CommandConfiguration(
        abstract: "Tell where a server could go, why not elsewhere, and what the migration would take. Nothing is moved.",
        discussion: """
            Measures for some seconds how the guest writes its memory and how fast the way to the best host is. Without --live-migrate and \
            --rescue-mode a cold migration is looked at.
            """)

    @Argument(help: ArgumentHelp("ID or name of the server.", valueName: "ID"), completion: Completions.servers)
    var server: String

    @Flag(help: "Of a live migration.")
    var liveMigrate = false

    @Flag(help: "Of a rescue: the source host is down.")
    var rescueMode = false

    @Option(help: ArgumentHelp("The only target host to be considered, by id or name.", valueName: "host"), completion: Completions.hosts)
    var preferHost: String?

    @Flag(help: "Skip check CPU mode of the target host.")
    var skipCpuCheck = false

    @Flag(help: "Skip target kernel version check.")
    var skipKernelCheck = false

    @Option(
        help: ArgumentHelp(
            "How the target's CPU must compare: exact, the same model and microcode; features, all that the guest was given (exact).",
            valueName: "check"),
        transform: { try Choices.parse($0, as: CPUCheck.self, field: "cpu-check") })
    var cpuCheck: CPUCheck?

    @Option(
        name: .customLong("max-bandwidth-mb"), parsing: .unconditional,
        help: ArgumentHelp(
            "Bandwidth over disks and memory together, in MB/s (10⁶ bytes a second), 1 to 1000000 (no limit).", valueName: "MB/s"),
        transform: { try Numbers.whole($0, in: MigrationBounds.bandwidthMB, unit: "MB/s") })
    var maxBandwidthMB: Int64?

    @Option(
        name: .customLong("max-downtime-ms"), parsing: .unconditional,
        help: ArgumentHelp(
            "The longest last pass, in milliseconds, 1 to 2000000; with --quickly-finish its ceiling (300; 5000).", valueName: "ms"),
        transform: { try Numbers.whole($0, in: MigrationBounds.downtimeMS, unit: "ms") })
    var maxDowntimeMS: Int64?

    @Flag(help: "Raise the downtime limit when memory does not converge.")
    var quicklyFinish = false

    @Flag(help: "Never slow the guest down, even if it dirties memory faster than that can be sent.")
    var noAutoConverge = false

    @Flag(help: "Let the target run the guest and fetch the rest when memory does not converge.")
    var postCopy = false

    @Flag(name: .customLong("enable-tls"), help: "Streams under TLS.")
    var enableTLS = false

    @Option(
        help: ArgumentHelp(
            "The longest that an attempt may take (90, 90s, 5m; at most 30d); by what there is to move when left out.", valueName: "time"),
        transform: { try Numbers.seconds($0, in: MigrationBounds.timeoutS) })
    var timeout: Int64?

    @Flag(inversion: .prefixedNo, help: "Measure, and tell what it would take; without it the answer comes at once.")
    var measure = true

    @OptionGroup var output: OutputOptions
    @OptionGroup var connection: ConnectionOptions

    func validate() throws {
        if liveMigrate, rescueMode { throw ValidationError("--live-migrate and --rescue-mode cannot be given together.") }
        for (given, flag) in [
            (skipCpuCheck, "--skip-cpu-check"), (skipKernelCheck, "--skip-kernel-check"), (cpuCheck != nil, "--cpu-check"),
            (maxDowntimeMS != nil, "--max-downtime-ms"), (quicklyFinish, "--quickly-finish"), (noAutoConverge, "--no-auto-converge"),
            (postCopy, "--post-copy"),
        ] where given && !liveMigrate {
            throw ValidationError("\(flag) has a meaning only for a live migration: leave it out, or give --live-migrate.")
        }
        for (given, flag) in [(maxBandwidthMB != nil, "--max-bandwidth-mb"), (enableTLS, "--enable-tls")] where given && rescueMode {
            throw ValidationError("\(flag) has no meaning with --rescue-mode, which copies nothing: leave it out.")
        }
        if skipCpuCheck && cpuCheck == .features {
            throw ValidationError("--skip-cpu-check leaves nothing for --cpu-check features to do: give one of the two.")
        }
    }

    func run(_ client: GodwitClient) async throws {
        let forecast = try await client.forecast(
            server,
            ForecastRequest(
                liveMigrate: liveMigrate, rescueMode: rescueMode, preferHost: preferHost, skipCPUCheck: skipCpuCheck,
                skipKernelCheck: skipKernelCheck, cpuCheck: cpuCheck, maxBandwidthMB: maxBandwidthMB, maxDowntimeMS: maxDowntimeMS,
                quicklyFinish: quicklyFinish, autoConverge: noAutoConverge ? false : nil, postCopy: postCopy, enableTLS: enableTLS,
                timeoutS: timeout, measure: measure))
        try output.output.print(forecast, table: ForecastTables.text(forecast))
    }
}
