import ArgumentParser
import Client
import Output

struct HistoryList: ControllerCommand {
    static let configuration = CommandConfiguration(
        commandName: "history", abstract: "Show what happened to migrations, newest first.",
        discussion: "Where more are left the line below the table says how to go on.")

    @OptionGroup var options: HistoryOptions

    @Option(help: "At most so many, 1 to \(ListQuery.most).")
    var limit = 20

    @Option(help: "asc, oldest first, or desc.")
    var order = ListQuery.Order.desc

    @Option(help: ArgumentHelp("Only what comes after the row of this number in the list.", valueName: "number"))
    var after: Int64?

    @OptionGroup var output: OutputOptions
    @OptionGroup var connection: ConnectionOptions

    func validate() throws {
        guard (1...ListQuery.most).contains(limit) else { throw ValidationError("--limit must be from 1 to \(ListQuery.most).") }
        if let after, after < 1 { throw ValidationError("--after must be at least 1.") }
    }

    func run(_ client: GodwitClient) async throws {
        let page = try await client.history(options.query, order: order, after: after.map(String.init), limit: limit)
        try output.output.print(
            page.items,
            table: HistoryTables.rows(page.items) + Table.footer(total: nil, shown: page.items.count, limit: limit) + "\n"
                + (page.next.map { "More: --after \($0)\n" } ?? ""))
    }
}
