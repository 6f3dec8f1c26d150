import Fleet
import Foundation
import SQL
import SQLite
import Store
import Testing

/// An engine that the whole suite runs against.
struct Backend: Sendable, CustomTestStringConvertible {
    let testDescription: String
    /// Runs the body with a way to open one and the same new, empty database any number of times, and removes it afterwards.
    let withDatabase:
        @Sendable (_ body: (_ open: @escaping @Sendable () async throws -> any SQLDatabase) async throws -> Void) async throws -> Void

    static let available: [Backend] = [
        Backend(testDescription: "SQLite") { body in
            try await withFolder { folder in
                try await body { try await SQLiteDatabase.open(path: folder + "/store.db") }
            }
        }
    ]
}

func withFolder(_ body: (String) async throws -> Void) async throws {
    let folder = NSTemporaryDirectory() + "godwit-" + UUID().uuidString
    try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
    let outcome: Result<Void, any Error>
    do { outcome = .success(try await body(folder)) } catch { outcome = .failure(error) }
    try FileManager.default.removeItem(atPath: folder)
    try outcome.get()
}

/// Runs the body with a store in an empty database.
func withStore(_ backend: Backend, _ body: (Store) async throws -> Void) async throws {
    try await withStores(backend, 1) { try await body($0[0]) }
}

/// Runs the body with several stores over the same database, each with its own connections, as processes have them.
func withStores(_ backend: Backend, _ count: Int, _ body: ([Store]) async throws -> Void) async throws {
    try await backend.withDatabase { open in
        var stores: [Store] = []
        for _ in 0..<count { stores.append(try await Store(open())) }
        let outcome: Result<Void, any Error>
        do { outcome = .success(try await body(stores)) } catch { outcome = .failure(error) }
        for store in stores { await store.database.close() }
        try outcome.get()
    }
}

/// Expects a refusal of the store with this code, and returns its sentence.
@discardableResult
func refusal<T>(
    _ code: StoreError.Code, sourceLocation: SourceLocation = #_sourceLocation, _ body: () async throws -> T
) async -> String {
    do {
        _ = try await body()
        Issue.record("accepted, where \(code) was expected", sourceLocation: sourceLocation)
    } catch let error as StoreError {
        #expect(error.code == code, "\(error)", sourceLocation: sourceLocation)
        return error.message
    } catch {
        Issue.record("\(error), where \(code) was expected", sourceLocation: sourceLocation)
    }
    return ""
}

/// Expects the database itself to refuse a statement for a rule, by the rule's name, and to be as it was.
func breach(_ rule: String, of store: Store, _ statement: SQLStatement, sourceLocation: SourceLocation = #_sourceLocation) async {
    do {
        _ = try await store.database.write { try await $0.execute(statement) }
        Issue.record("accepted, where \(rule) was to refuse it", sourceLocation: sourceLocation)
    } catch let error as SQLError {
        #expect(error.code == .constraint(rule), "\(error)", sourceLocation: sourceLocation)
    } catch {
        Issue.record("\(error), where \(rule) was expected", sourceLocation: sourceLocation)
    }
}
