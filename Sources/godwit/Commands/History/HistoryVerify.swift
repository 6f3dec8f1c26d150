import ArgumentParser
import Client
import Output

struct HistoryVerify: ControllerCommand {
    static let configuration = CommandConfiguration(
        abstract: "Find rows of the history that were altered or are missing.",
        discussion: """
            Each row carries a hash over itself and the row before it of its migration. Whoever can write to the database can make all of \
            them anew: keep an export elsewhere where that matters. Exit code 1 when anything was found.
            """)

    @Argument(
        help: ArgumentHelp("ID of a migration, or its beginning; all when left out.", valueName: "ID"), completion: Completions.migrations)
    var migration: String?

    @OptionGroup var output: OutputOptions
    @OptionGroup var connection: ConnectionOptions

    func run(_ client: GodwitClient) async throws {
        let found = try await client.verifyHistory(of: migration)
        let unproven = found.unproven > 0 ? ", \(found.unproven) from before there were hashes" : ""
        let pruned = found.pruned > 0 ? ", \(found.pruned) archived and pruned" : ""
        try output.output.print(
            found,
            table: HistoryTables.flaws(found.flaws)
                + "\(found.rows) rows of \(found.migrations) migrations\(pruned)\(unproven): \(found.flaws.isEmpty ? "as they were written" : "\(found.flaws.count) flaws")\n"
        )
        if !found.flaws.isEmpty { throw CommandFailure.failed("The history is not as it was written.") }
    }
}
