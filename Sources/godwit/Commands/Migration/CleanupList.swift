import ArgumentParser
import Client
import Output

struct CleanupList: ControllerCommand {
    static let configuration = CommandConfiguration(abstract: "List what is left on hosts and still has to go.")

    @OptionGroup var output: OutputOptions
    @OptionGroup var connection: ConnectionOptions

    func run(_ client: GodwitClient) async throws {
        let cleanups = try await client.cleanups().items
        try output.output.print(
            cleanups,
            table: MigrationTables.cleanups(cleanups) + Table.footer(total: cleanups.count, shown: cleanups.count) + "\n")
    }
}
