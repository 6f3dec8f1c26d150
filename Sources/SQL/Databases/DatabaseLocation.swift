import PostgreSQL
package import SQL
import SQLite

/// Where a store's database is, as people write it: a path, `sqlite://` and a path, or `postgres://…`.
package struct DatabaseLocation: Sendable, CustomStringConvertible {
    package static let help =
        "The database: a path (or sqlite:// and a path), or postgres://… as libpq understands it: several hosts, TLS, and whatever is left out by its environment (PGHOST, PGPASSFILE, …)."

    private enum Engine: Sendable {
        case sqlite(path: String)
        case postgres(url: String)
    }

    private let engine: Engine
    /// Without anything secret.
    package let description: String

    /// - Throws: ``SQLError`` whose message goes on after the name of what was given.
    package init(_ text: String) throws(SQLError) {
        guard let end = text.firstRange(of: "://") else {
            guard !text.isEmpty else { throw SQLError(.connection, "is empty; give a path, or postgres://…") }
            engine = .sqlite(path: text)
            description = text
            return
        }
        switch text[..<end.lowerBound] {
        case "sqlite":
            engine = .sqlite(path: String(text[end.upperBound...]))
            description = text
        case "postgres", "postgresql":
            do {
                description = try PostgresDatabase.shown(text)
            } catch {
                throw SQLError(.connection, "cannot be understood: \(error.message)")
            }
            engine = .postgres(url: text)
        default:
            throw SQLError(
                .connection, "is “\(text)”; the databases known are SQLite (a path, or sqlite:// and a path) and PostgreSQL (postgres://…)")
        }
    }

    package var dialect: SQLDialect {
        switch engine {
        case .sqlite: .sqlite
        case .postgres: .postgres
        }
    }

    /// - Throws: ``SQLError`` as the engine's own `open` does.
    package func open() async throws -> any SQLDatabase {
        switch engine {
        case .sqlite(let path): try await SQLiteDatabase.open(path: path)
        case .postgres(let url): try await PostgresDatabase.open(url)
        }
    }
}
