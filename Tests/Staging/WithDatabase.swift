import Foundation
package import SQL
import SQLite

/// Runs the body with an empty database in a folder of its own.
///
/// - Parameter name: what the folder's name begins with.
package func withDatabase<T>(_ name: String, _ body: (any SQLDatabase) async throws -> T) async throws -> T {
    let folder = FileManager.default.temporaryDirectory.appending(path: "\(name)-\(UUID().uuidString)")
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(at: folder) }
    let database = try await SQLiteDatabase.open(path: folder.appending(path: "store.sqlite").path)
    do {
        let value = try await body(database)
        await database.close()
        return value
    } catch {
        await database.close()
        throw error
    }
}
