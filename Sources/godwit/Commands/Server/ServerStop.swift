import ArgumentParser
import Client
import Fleet
import Output

struct ServerStop: ControllerCommand {
    static let configuration = CommandConfiguration(abstract: "Stop a server by its power button; answers when it is off.")

    @Argument(help: ArgumentHelp("ID or name of the server.", valueName: "ID"), completion: Completions.servers)
    var server: String

    @Flag(help: "Cut its power at once.")
    var force = false

    @Option(
        help: ArgumentHelp("How long it may take until its power is cut (60, 60s, 5m; at most 10m). 15s when left out.", valueName: "time"),
        transform: { try TimeSpan.positive($0, like: "60, 60s or 5m") })
    var timeout: Duration?

    @OptionGroup var output: OutputOptions
    @OptionGroup var connection: ConnectionOptions

    func validate() throws {
        if force && timeout != nil { throw ValidationError("--force cuts the power at once: leave out --timeout, or --force.") }
    }

    func run(_ client: GodwitClient) async throws {
        let server = try await client.stopServer(server, StopServerRequest(graceMS: force ? 0 : timeout?.inMilliseconds))
        try output.output.print(server, table: ServerTables.one(server))
    }
}
