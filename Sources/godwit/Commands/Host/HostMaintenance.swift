import ArgumentParser
import Client
import Fleet
import Output

struct HostMaintenance: ControllerCommand {
    static let configuration = CommandConfiguration(
        abstract: "Place nothing on a host until host-unmaintenance, and migrate its servers elsewhere.",
        discussion: """
            The servers leave as a batch: live where they run, cold where they are off, each to the host that suits it best. What cannot \
            be migrated now is listed with the reason, and stays; given again once that is mended, the command takes what is left. For \
            other options than the usual ones give --no-drain, and then batch-migrate --from-host. The end of the maintenance does not \
            end the batch: that is batch-cancel's.
            """)

    @Argument(help: ArgumentHelp("ID or name of the host.", valueName: "ID"), completion: Completions.hosts)
    var host: String

    @Flag(name: .customLong("no-drain"), help: "Its servers stay where they are.")
    var staysFull = false

    @OptionGroup var waiting: WaitOptions
    @OptionGroup var output: OutputOptions
    @OptionGroup var connection: ConnectionOptions

    func validate() throws {
        if staysFull && waiting.wait { throw ValidationError("--wait has no meaning with --no-drain.") }
    }

    func run(_ client: GodwitClient) async throws {
        var host = try await client.beginMaintenance(host, drain: !staysFull)
        var ended: BatchView?
        if waiting.wait, let batch = host.drain?.batch {
            let end = try await BatchWatching.end(of: batch, client, waiting)
            host.drain?.batch = end
            ended = end
        }
        try output.output.print(host, table: HostTables.one(host) + HostTables.staying(host))
        if let ended { try BatchWatching.requireReady(ended) }
        if waiting.wait, let staying = host.drain?.staying, !staying.isEmpty {
            throw CommandFailure.failed("\(staying.count) servers of \(host.name) cannot be migrated now: the table says why.")
        }
    }
}
