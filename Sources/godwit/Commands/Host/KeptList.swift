import ArgumentParser
import Client
import Output

struct KeptList: ControllerCommand {
    static let configuration = CommandConfiguration(
        abstract: "List what failed live migrations left on their targets and was kept.",
        discussion: """
            A live migration with --keep-dest-guest-on-failed keeps the disks, the console and QEMU's log of an attempt that failed, for \
            somebody to look at. None of it can ever run, and none is in the way of another try. It takes room until kept-delete.
            """)

    @Option(help: ArgumentHelp("Of this host alone: its ID or name.", valueName: "ID"))
    var host: String?

    @OptionGroup var output: OutputOptions
    @OptionGroup var connection: ConnectionOptions

    func run(_ client: GodwitClient) async throws {
        let kept = try await client.kept(host: host).items
        try output.output.print(
            kept, table: HostTables.kept(kept) + Table.footer(total: kept.count, shown: kept.count) + "\n")
    }
}
