import ArgumentParser
import Client
import Fleet

struct ServerLiveMigrate: ControllerCommand {
    static let configuration = CommandConfiguration(
        abstract: "Live-migrate a running server to another host.",
        discussion: "Answers when the migration is accepted; follow it with migration-watch, or give --wait.")

    @Argument(help: ArgumentHelp("ID or name of the server.", valueName: "ID"))
    var server: String

    @Flag(help: "Skip check CPU mode of the target host.")
    var skipCpuCheck = false

    @Flag(help: "Skip target kernel version check.")
    var skipKernelCheck = false

    @Flag(name: .customLong("enable-tls"), help: "Enable TLS migration. Does not work yet.")
    var enableTLS = false

    @Flag(help: "Quickly finish, fix downtime after a few rounds of memory synchronization. Does not work yet.")
    var quicklyFinish = false

    @Option(
        name: .customLong("max-bandwidth-mb"), parsing: .unconditional,
        help: ArgumentHelp("Live migrate max bandwidth over disks and memory together, in MB/s (10⁶ bytes a second).", valueName: "MB/s"),
        transform: { try Self.bandwidth($0) })
    var maxBandwidthMB: Int64?

    @Flag(help: "Do not delete dest guest on migrate failed, for debug. Does not work yet.")
    var keepDestGuestOnFailed = false

    @Option(help: ArgumentHelp("The only target host to be considered, by id or name.", valueName: "host"))
    var preferHost: String?

    @OptionGroup var waiting: WaitOptions
    @OptionGroup var output: OutputOptions
    @OptionGroup var connection: ConnectionOptions

    func validate() throws {
        for (given, flag) in [
            (enableTLS, "--enable-tls"), (quicklyFinish, "--quickly-finish"), (keepDestGuestOnFailed, "--keep-dest-guest-on-failed"),
        ] where given {
            throw ValidationError("\(flag) does not work yet, so nothing was submitted; try again without it.")
        }
    }

    /// Takes whatever follows, so that a number below zero and a value left out are told apart.
    private static func bandwidth(_ text: String) throws -> Int64 {
        guard !text.hasPrefix("--") else {
            throw ValidationError("it needs a number of MB/s before the next flag, or must be left out for no limit.")
        }
        guard let bandwidth = Int64(text) else { throw ValidationError("it must be a whole number of MB/s.") }
        guard bandwidth >= 1 else { throw ValidationError("it must be at least 1 MB/s; leave it out for no limit.") }
        return bandwidth
    }

    func run(_ client: GodwitClient) async throws {
        let request = LiveMigrateRequest(
            preferHost: preferHost, maxBandwidthMB: maxBandwidthMB, skipCPUCheck: skipCpuCheck, skipKernelCheck: skipKernelCheck)
        let accepted = try await client.liveMigrate(server, request)
        guard waiting.wait else {
            try output.output.print(accepted, table: MigrationTables.one(accepted))
            return
        }
        let bar = Terminal.error
        let watch = MigrationWatching(client: client, migration: accepted.id, patience: waiting.timeout)
        let ended = try await watch.follow(on: bar.isInteractive ? .bar(bar) : .nothing)
        try output.output.print(ended, table: MigrationTables.one(ended))
        try MigrationWatching.requireReady(ended)
    }
}
