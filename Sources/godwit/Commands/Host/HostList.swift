import ArgumentParser
import Client
import Output

struct HostList: ControllerCommand {
    static let configuration = CommandConfiguration(
        abstract: "List hosts, by name unless ordered otherwise.",
        usage: Usage.line("host-list", ["--hypervisor kvm", "--status online|offline"] + Usage.list),
        discussion: "Sizes of memory are in MiB.")

    @Option(help: "kvm, as in climc; there are no others, so that of any other word the list is empty.")
    var hypervisor: String?

    @Option(
        help: ArgumentHelp("Only those whose agent is \(Choices.list(HostView.Status.self)).", valueName: "host-status"),
        transform: { try Choices.parse($0, as: HostView.Status.self, field: "status") })
    var status: HostView.Status?

    @OptionGroup var list: ListOptions
    @OptionGroup var output: OutputOptions
    @OptionGroup var connection: ConnectionOptions

    func run() async throws {
        _ = try list.chosen(of: HostView.self)
        try await connection.withClient { try await run($0) }
    }

    func run(_ client: GodwitClient) async throws {
        let page = try await client.hosts(list.query, status: status, hypervisor: hypervisor)
        try HostTables.columns.print(page, list, as: output.output)
    }
}
