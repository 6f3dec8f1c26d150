import ArgumentParser
import Client
import Fleet
import Output

struct HostSetSlots: ControllerCommand {
    static let configuration = CommandConfiguration(
        abstract: "Set how many migrations a host carries at once.",
        discussion: """
            Migrations beyond that wait in scheduling, and say what for.
            """)

    @Argument(help: ArgumentHelp("ID or name of the host.", valueName: "ID"))
    var host: String

    @Option(help: ArgumentHelp("Migrations that may be on their way into it, 0 to 1000 (2 for a new host).", valueName: "number"))
    var inbound: Int?

    @Option(help: ArgumentHelp("Migrations that may be on their way out of it, 0 to 1000 (2 for a new host).", valueName: "number"))
    var outbound: Int?

    @OptionGroup var output: OutputOptions
    @OptionGroup var connection: ConnectionOptions

    func validate() throws {
        guard inbound != nil || outbound != nil else {
            throw ValidationError("nothing is to be set: give --inbound, --outbound or both.")
        }
        for (name, value) in [("--inbound", inbound), ("--outbound", outbound)] {
            if let value, !(0...1000).contains(value) { throw ValidationError("\(name) must be between 0 and 1000.") }
        }
    }

    func run(_ client: GodwitClient) async throws {
        let host = try await client.limitHost(host, HostLimitsRequest(inboundSlots: inbound, outboundSlots: outbound))
        try output.output.print(host, table: HostTables.one(host))
    }
}
