import ArgumentParser
import Databases
import Output
import SQL
import Store

struct StoreInit: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "store-init", abstract: "Make Godwit's tables in an empty database.",
        discussion: """
            Controllers and workers do so too when they start on an empty database. This is for who lets them in as a role that may not make \
            tables: run it as the owner.
            """)

    @Option(help: ArgumentHelp(DatabaseLocation.help))
    var store: String

    func run() async throws {
        try await StoreAccess.with(store) { database, place in
            let before = try await SchemaVersion.look(at: database)
            guard before.present == 0 else {
                throw CommandFailure.failed("The store \(place) has schema version \(before.present) already; nothing was changed.")
            }
            _ = try await Store(database)
            Terminal.output.write("The store \(place) has schema version \(before.newest).\n")
        }
    }
}
