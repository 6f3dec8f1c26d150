import ArgumentParser
import Client
import Fleet
import Output

struct HistoryStats: ControllerCommand {
    static let configuration = CommandConfiguration(
        abstract: "Count finished migrations, and measure what they took.",
        discussion: """
            Total is from the submit to the end, blackout the time in which neither guest ran, moved the bytes of disk and memory: \
            percentiles by nearest rank, of those that were ready.
            """)

    @Option(
        help: ArgumentHelp(
            "What to count by: \(dimensions.joined(separator: ", ")), with commas between them; all in one when left out. day is of the end, UTC.",
            valueName: "fields"))
    var by: String?

    @OptionGroup var options: HistoryOptions
    @OptionGroup var output: OutputOptions
    @OptionGroup var connection: ConnectionOptions

    private static let dimensions = ["day", "source", "target", "mode", "state", "reason"]

    private var wanted: [String] { by?.split(separator: ",").map(String.init) ?? [] }

    func validate() throws {
        for name in wanted where !Self.dimensions.contains(name) {
            throw ValidationError("--by “\(name)” is not one of \(Self.dimensions.joined(separator: ", ")).")
        }
        guard Set(wanted).count == wanted.count else { throw ValidationError("--by names something twice.") }
    }

    func run(_ client: GodwitClient) async throws {
        let statistics = try await client.historyStatistics(by: wanted, options.query).items
        try output.output.print(
            statistics,
            table: HistoryTables.statistics(statistics, by: wanted) + Table.footer(total: statistics.count, shown: statistics.count) + "\n")
    }
}
