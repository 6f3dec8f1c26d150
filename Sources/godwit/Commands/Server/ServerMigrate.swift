import ArgumentParser
import Client
import Foundation
import Output

struct ServerMigrate: ControllerCommand {
    static let configuration = CommandConfiguration(
        abstract: "Migrate a server that is off to another host (cold), or rescue it from a host that is down.",
        usage: Usage.line(
            "server-migrate",
            [
                "--auto-start", "--rescue-mode", "--confirm-host-down", "--prefer-host PREFER_HOST", "--max-bandwidth-mb N", "--enable-tls",
                "--priority N", "--timeout TIME", "--stall-timeout TIME", "--wait", "--wait-timeout TIME",
            ], "<ID>"),
        discussion: """
            Cold: the server's local disks are copied, only what is allocated in them; a copy that broke off goes on where it was. A disk on \
            a shared storage stays where it is. The server cannot be started meanwhile.

            Rescue: the host is down and every disk is on a shared storage; only the placement moves. A host that merely does not answer is \
            not known to be off: --confirm-host-down says that you made sure of it; at a terminal you are asked.

            Answers when the migration is accepted; follow it with migration-watch, or give --wait.
            """)

    @Argument(help: ArgumentHelp("ID of server, or its name.", valueName: "ID"), completion: Completions.servers)
    var server: String

    @Flag(help: "Server auto start after migrate.")
    var autoStart = false

    @Flag(help: "Migrate server in rescue mode, all disks must reside on shared storage.")
    var rescueMode = false

    @Flag(help: "With --rescue-mode: you made sure that the server's host is off.")
    var confirmHostDown = false

    @Option(
        help: ArgumentHelp(
            "Server migration prefer host id or name: the only one to be considered. One is chosen when left out.",
            valueName: "PREFER_HOST"), completion: Completions.hosts)
    var preferHost: String?

    @Option(
        name: .customLong("max-bandwidth-mb"), parsing: .unconditional,
        help: ArgumentHelp(
            "Cold: at most so many MB/s (10⁶ bytes a second) over all disks, 1 to 1000000. No limit when left out.", valueName: "N"),
        transform: { try Numbers.whole($0, in: MigrationBounds.bandwidthMB, unit: "MB/s") })
    var maxBandwidthMB: Int64?

    @Flag(name: .customLong("enable-tls"), help: "Cold: disks travel encrypted, both hosts proven.")
    var enableTLS = false

    @OptionGroup var urgency: PriorityOption
    @OptionGroup var deadlines: DeadlineOptions
    @OptionGroup var waiting: WaitOptions
    @OptionGroup var output: OutputOptions
    @OptionGroup var connection: ConnectionOptions

    func validate() throws {
        if confirmHostDown && !rescueMode { throw ValidationError("--confirm-host-down has a meaning only with --rescue-mode.") }
        guard rescueMode else { return }
        for (given, flag) in [
            (maxBandwidthMB != nil, "--max-bandwidth-mb"), (enableTLS, "--enable-tls"), (deadlines.stallTimeout != nil, "--stall-timeout"),
        ] where given {
            throw ValidationError("\(flag) has no meaning with --rescue-mode, which copies nothing: leave it out.")
        }
    }

    var request: MigrateRequest {
        MigrateRequest(
            preferHost: preferHost, autoStart: autoStart, rescueMode: rescueMode, confirmHostDown: confirmHostDown,
            maxBandwidthMB: maxBandwidthMB, enableTLS: enableTLS, stallTimeoutS: deadlines.stallTimeout, timeoutS: deadlines.timeout,
            priority: urgency.priority.map { Int($0) })
    }

    func run(_ client: GodwitClient) async throws {
        var request = request
        if rescueMode, !confirmHostDown, Terminal.input.isInteractive, Terminal.error.isInteractive {
            try await vouch(client)
            request.confirmHostDown = true
        }
        let accepted = try await client.migrate(server, request)
        try await MigrationWatching.show(accepted, client, waiting, output.output)
    }

    /// Has the person at the terminal vouch for the host's being off: by its name, which nobody types by habit.
    private func vouch(_ client: GodwitClient) async throws {
        let host = try await client.server(server).host.name
        let answer = await Terminal.ask(
            "Is \(host) off? If it still ran, two guests of one server would write to the same disks.\nType the host's name to vouch for it: "
        )
        guard answer?.trimmingCharacters(in: .whitespaces) == host else {
            throw CommandFailure.failed("Nothing was done: nobody vouched for \(host) being off.")
        }
    }
}
