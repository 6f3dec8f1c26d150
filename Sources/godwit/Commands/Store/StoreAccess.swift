import Databases
import Output
import SQL
import Store

/// A store as the command line opens it.
enum StoreAccess {
    /// Runs the body with the database and how it is shown.
    ///
    /// - Throws: ``CommandFailure``.
    static func with(_ store: String, _ option: String = "--store", _ body: (any SQLDatabase, String) async throws -> Void) async throws {
        let location: DatabaseLocation
        do {
            location = try DatabaseLocation(store)
        } catch {
            throw CommandFailure.usage("\(option) \(error.message).")
        }
        do {
            let database = try await location.open()
            do {
                try await body(database, location.description)
            } catch {
                await database.close()
                throw error
            }
            await database.close()
        } catch let error as StoreError {
            let cause = (error.cause as? SQLError).map { " (\($0.message))" } ?? ""
            throw CommandFailure.failed("The store \(location) cannot be used. \(error.message)\(cause)")
        } catch let error as SQLError {
            throw CommandFailure.failed("The store \(location) cannot be used: \(error.message).")
        }
    }
}
