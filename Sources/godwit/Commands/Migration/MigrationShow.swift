import ArgumentParser
import Client
import Fleet
import Output

struct MigrationShow: ControllerCommand {
    static let configuration = CommandConfiguration(abstract: "Show a migration with its history.")

    @Argument(help: ArgumentHelp("ID of the migration, or the beginning of it.", valueName: "ID"), completion: Completions.migrations)
    var migration: String

    @OptionGroup var output: OutputOptions
    @OptionGroup var connection: ConnectionOptions

    func run(_ client: GodwitClient) async throws {
        let migration = try await client.migration(migration)
        let history = try await client.history(of: migration.id).items
        try output.output.print(
            MigrationStory(migration: migration, history: history),
            table: MigrationTables.one(migration) + MigrationTables.history(history)
                + Table.footer(total: history.count, shown: history.count) + "\n")
    }
}

/// A migration's own fields, and its history beside them.
struct MigrationStory: Encodable {
    let migration: MigrationView
    let history: [TransitionView]

    private enum CodingKeys: String, CodingKey {
        case history
    }

    func encode(to encoder: any Encoder) throws {
        try migration.encode(to: encoder)
        var container = encoder.container(keyedBy: CodingKeys.self)
        try container.encode(history, forKey: .history)
    }
}
