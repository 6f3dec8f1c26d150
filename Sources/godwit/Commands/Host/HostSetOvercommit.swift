import ArgumentParser
import Client
import Fleet
import Output

struct HostSetOvercommit: ControllerCommand {
    static let configuration = CommandConfiguration(
        abstract: "Set how much of a host may be promised.",
        discussion: """
            What is promised already stays so, also where it is more than that; nothing new is placed then.
            """)

    @Argument(help: ArgumentHelp("ID or name of the host.", valueName: "ID"))
    var host: String

    @Option(help: ArgumentHelp("vCPUs that may be promised for each processor, 0.01 to 1000 (8 for a new host).", valueName: "factor"))
    var cpu: Double?

    @Option(help: ArgumentHelp("How often each byte of memory may be promised, 0.01 to 1000 (1 for a new host).", valueName: "factor"))
    var memory: Double?

    @OptionGroup var output: OutputOptions
    @OptionGroup var connection: ConnectionOptions

    func validate() throws {
        guard cpu != nil || memory != nil else { throw ValidationError("nothing is to be set: give --cpu, --memory or both.") }
        for (name, value) in [("--cpu", cpu), ("--memory", memory)] {
            if let value, !(0.01...1000).contains(value) { throw ValidationError("\(name) must be between 0.01 and 1000.") }
        }
    }

    func run(_ client: GodwitClient) async throws {
        let host = try await client.limitHost(host, HostLimitsRequest(vcpusOvercommit: cpu, memoryOvercommit: memory))
        try output.output.print(host, table: HostTables.one(host))
    }
}
