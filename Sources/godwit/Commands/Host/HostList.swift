import ArgumentParser
import Client

struct HostList: ControllerCommand {
    static let configuration = CommandConfiguration(abstract: "List hosts.")

    @Option(help: "kvm, as in climc; there are no others, so that of any other word the list is empty.")
    var hypervisor: String?

    @OptionGroup var output: OutputOptions
    @OptionGroup var connection: ConnectionOptions

    func run(_ client: GodwitClient) async throws {
        let all = try await client.hosts().items
        let hosts = hypervisor.map { $0 == "kvm" } ?? true ? all : []
        try output.output.print(
            hosts, table: HostTables.list(hosts) + Table.footer(shown: hosts.count, total: hosts.count, limit: nil) + "\n")
    }
}
