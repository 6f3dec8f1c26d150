import ArgumentParser
import Databases
import SQL
import Store

/// Where the measured store is.
struct Place: ParsableArguments {
    @Option(help: ArgumentHelp(DatabaseLocation.help, valueName: "database"))
    var store: String

    func open() async throws -> any SQLDatabase { try await DatabaseLocation(store).open() }

    /// Runs the body with the store, and closes it.
    func with<T>(_ body: (Store) async throws -> T) async throws -> T {
        let database = try await open()
        let outcome: Result<T, any Error>
        do { outcome = .success(try await body(try await Store(database))) } catch { outcome = .failure(error) }
        await database.close()
        return try outcome.get()
    }
}
