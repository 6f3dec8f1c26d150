import ArgumentParser
import Databases
import Output
import SQL
import Store

struct StoreUpgrade: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "store-upgrade", abstract: "Bring a store to this Godwit's schema version.",
        discussion: "All of it or nothing, in one transaction. Older controllers and workers refuse an upgraded store: stop them first.")

    @Option(help: ArgumentHelp(DatabaseLocation.help))
    var store: String

    func run() async throws {
        try await StoreAccess.with(store) { database, place in
            let before = try await SchemaVersion.look(at: database)
            guard before.present > 0 else {
                throw CommandFailure.failed("The store \(place) is empty; `\(Godwit.program) store-init` makes its tables.")
            }
            _ = try await Store(database)
            let what = before.present == before.newest ? "had" : "went from schema version \(before.present) to"
            Terminal.output.write("The store \(place) \(what) schema version \(before.newest).\n")
        }
    }
}
