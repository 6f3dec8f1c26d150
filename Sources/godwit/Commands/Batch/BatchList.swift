import ArgumentParser
import Client
import Fleet
import Output

struct BatchList: ControllerCommand {
    static let configuration = CommandConfiguration(
        abstract: "List batches, newest first unless ordered otherwise.",
        usage: Usage.line("batch-list", ["--search TEXT", "--details", "--status STATUS"] + Usage.list))

    @Option(
        help: ArgumentHelp("Only those in this status: \(Choices.list(BatchStatus.self)).", valueName: "status"),
        completion: .list(BatchStatus.allCases.map(\.rawValue)),
        transform: { try Choices.parse($0, as: BatchStatus.self, field: "status") })
    var status: BatchStatus?

    @OptionGroup var list: ListOptions
    @OptionGroup var output: OutputOptions
    @OptionGroup var connection: ConnectionOptions

    func run() async throws {
        _ = try list.chosen(of: BatchView.self)
        try await connection.withClient { try await run($0) }
    }

    func run(_ client: GodwitClient) async throws {
        try BatchTables.columns.print(try await client.batches(list.query, status: status), list, as: output.output)
    }
}
