import ArgumentParser
import Client
import Fleet
import Output

struct ServerList: ControllerCommand {
    static let configuration = CommandConfiguration(
        abstract: "List servers, newest first unless ordered otherwise.",
        usage: Usage.line("server-list", ["--search TEXT", "--details", "--scope SCOPE", "--host HOST", "--status STATUS"] + Usage.list),
        discussion: "vmem_size is in MiB.")

    @Option(help: "Only those on this host (id or name).", completion: Completions.hosts)
    var host: String?

    @Option(
        help: ArgumentHelp("Only those in this status: \(Choices.list(ShownStatus.self)).", valueName: "status"),
        completion: .list(ShownStatus.allCases.map(\.rawValue)),
        transform: { try Choices.parse($0, as: ShownStatus.self, field: "status") })
    var status: ShownStatus?

    @OptionGroup var list: ListOptions
    @OptionGroup var output: OutputOptions
    @OptionGroup var connection: ConnectionOptions

    func run() async throws {
        _ = try list.chosen(of: ServerView.self)
        try await connection.withClient { try await run($0) }
    }

    func run(_ client: GodwitClient) async throws {
        let page = try await client.servers(list.query, host: host, status: status)
        try ServerTables.columns.print(page, list, as: output.output)
    }
}
