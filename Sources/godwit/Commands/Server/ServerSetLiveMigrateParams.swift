import ArgumentParser
import Client
import Output

struct ServerSetLiveMigrateParams: ControllerCommand {
    static let configuration = CommandConfiguration(
        abstract: "Change a server's migration in flight.",
        usage: Usage.line(
            "server-set-live-migrate-params", ["--max-bandwidth-mb N", "--downtime-limit-ms N", "--confirm-host-down"], "<ID>"),
        discussion: """
            At least one must be given; what is left out stays as it is. Each change is told in the migration's history.
            """)

    @Argument(help: ArgumentHelp("ID of server, or its name.", valueName: "ID"), completion: Completions.servers)
    var server: String

    @Option(
        name: .customLong("max-bandwidth-mb"), parsing: .unconditional,
        help: ArgumentHelp(
            "From now on at most so many MB/s (10⁶ bytes a second) over disks and memory together, 1 to 1000000; 0 lifts the limit.",
            valueName: "N"),
        transform: { try Numbers.whole($0, in: 0...MigrationBounds.bandwidthMB.upperBound, unit: "MB/s") })
    var maxBandwidthMB: Int64?

    @Option(
        name: .customLong("downtime-limit-ms"), parsing: .unconditional,
        help: ArgumentHelp("From now on a downtime limit of so many milliseconds, 1 to 2000000.", valueName: "N"),
        transform: { try Numbers.whole($0, in: MigrationBounds.downtimeMS, unit: "ms") })
    var downtimeLimitMS: Int64?

    @Flag(
        help: ArgumentHelp(
            "The source host is off for good: the migration, which waits for it, ends, and the memory that only that host has is lost. After a post-copy the server is off on its new host; else it is where it was, to be rescued.",
            discussion: "Refused while that host is online, while nothing is awaited, and where a disk is that host's own."))
    var confirmHostDown = false

    @OptionGroup var output: OutputOptions
    @OptionGroup var connection: ConnectionOptions

    func validate() throws {
        guard maxBandwidthMB != nil || downtimeLimitMS != nil || confirmHostDown else {
            throw ValidationError("nothing is to be changed: give --max-bandwidth-mb, --downtime-limit-ms, or --confirm-host-down.")
        }
    }

    func run(_ client: GodwitClient) async throws {
        let request = SetLiveMigrateParamsRequest(
            maxBandwidthMB: maxBandwidthMB, downtimeLimitMS: downtimeLimitMS, confirmHostDown: confirmHostDown ? true : nil)
        let migration = try await client.setLiveMigrateParams(server, request)
        try output.output.print(migration, table: MigrationTables.one(migration))
    }
}
