import Backends
import SQL
import Store
import Testing

/// Runs the body with a store in an empty database.
func withStore(_ backend: Backend, _ body: (Store) async throws -> Void) async throws {
    try await withStores(backend, 1) { try await body($0[0]) }
}

/// Runs the body with several stores over the same database, each with its own connections, as processes have them.
func withStores(_ backend: Backend, _ count: Int, _ body: ([Store]) async throws -> Void) async throws {
    try await backend.withDatabases(count) { databases in
        var stores: [Store] = []
        for database in databases { stores.append(try await Store(database)) }
        try await body(stores)
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
