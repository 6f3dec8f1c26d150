/// A value that both engines can store.
package enum SQLValue: Hashable, Sendable {
    case null
    case integer(Int64)
    case real(Double)
    /// Without zero bytes, which a statement refuses.
    case text(String)
    case blob([UInt8])
}

/// One statement with its values bound, built by interpolation so that no value can become SQL text:
/// `"SELECT name FROM hosts WHERE id = \(id)"`. Each driver writes its own placeholders (`?`, `$1`).
package struct SQLStatement: Sendable, ExpressibleByStringInterpolation {
    package enum Part: Hashable, Sendable {
        case text(String)
        case value(SQLValue)
    }

    package var parts: [Part]

    package init(parts: [Part]) {
        self.parts = parts
    }

    package init(stringLiteral value: String) {
        self.parts = [.text(value)]
    }

    package init(stringInterpolation: Interpolation) {
        self.parts = stringInterpolation.parts
    }

    package struct Interpolation: StringInterpolationProtocol {
        var parts: [Part] = []

        package init(literalCapacity: Int, interpolationCount: Int) {
            parts.reserveCapacity(interpolationCount * 2 + 1)
        }

        package mutating func appendLiteral(_ literal: String) {
            if !literal.isEmpty { parts.append(.text(literal)) }
        }

        package mutating func appendInterpolation(_ value: SQLValue) { parts.append(.value(value)) }
        package mutating func appendInterpolation(_ value: String) { parts.append(.value(.text(value))) }
        package mutating func appendInterpolation(_ value: String?) { parts.append(.value(value.map(SQLValue.text) ?? .null)) }
        package mutating func appendInterpolation(_ value: Int64) { parts.append(.value(.integer(value))) }
        package mutating func appendInterpolation(_ value: Int64?) { parts.append(.value(value.map(SQLValue.integer) ?? .null)) }
        package mutating func appendInterpolation(_ value: Int) { parts.append(.value(.integer(Int64(value)))) }
        package mutating func appendInterpolation(_ value: Int?) {
            parts.append(.value(value.map { .integer(Int64($0)) } ?? .null))
        }
        package mutating func appendInterpolation(_ value: Double?) { parts.append(.value(value.map(SQLValue.real) ?? .null)) }
        package mutating func appendInterpolation(_ value: Bool) { parts.append(.value(.integer(value ? 1 : 0))) }
        /// Another piece of SQL, with its own values.
        package mutating func appendInterpolation(_ statement: SQLStatement) { parts.append(contentsOf: statement.parts) }
        /// Values with commas between them, for `VALUES (…)`.
        package mutating func appendInterpolation(values: [SQLValue]) {
            for (index, value) in values.enumerated() {
                if index > 0 { appendLiteral(", ") }
                appendInterpolation(value)
            }
        }
        /// Values with commas between them, for `IN (…)`. Never empty in SQL: no value becomes `NULL`, which is in nothing.
        package mutating func appendInterpolation(list values: [String]) {
            guard !values.isEmpty else { return appendLiteral("NULL") }
            for (index, value) in values.enumerated() {
                if index > 0 { appendLiteral(", ") }
                appendInterpolation(value)
            }
        }
    }
}

/// One row of a result, by column name.
package struct SQLRow: Sendable {
    package let columns: [String]
    package let values: [SQLValue]

    package init(columns: [String], values: [SQLValue]) {
        self.columns = columns
        self.values = values
    }

    /// The value of a column. Throws ``SQLError/Code/statement`` when the result has none of that name.
    package func value(_ column: String) throws -> SQLValue {
        guard let index = columns.firstIndex(of: column) else {
            throw SQLError(.statement, "the result has no column \(column), only \(columns.joined(separator: ", "))")
        }
        return values[index]
    }

    /// A column that is never null. Throws ``SQLError/Code/statement`` when it holds something else, as all of these do.
    package func integer(_ column: String) throws -> Int64 {
        guard let value = try optionalInteger(column) else { throw mismatch(column, "an integer") }
        return value
    }

    package func optionalInteger(_ column: String) throws -> Int64? {
        switch try value(column) {
        case .integer(let value): value
        case .null: nil
        case .real, .text, .blob: throw mismatch(column, "an integer or null")
        }
    }

    package func text(_ column: String) throws -> String {
        guard let value = try optionalText(column) else { throw mismatch(column, "text") }
        return value
    }

    package func optionalText(_ column: String) throws -> String? {
        switch try value(column) {
        case .text(let value): value
        case .null: nil
        case .integer, .real, .blob: throw mismatch(column, "text or null")
        }
    }

    /// A column that holds a number, whole or not, and is never null.
    package func real(_ column: String) throws -> Double {
        switch try value(column) {
        case .real(let value): value
        case .integer(let value): Double(value)
        case .null, .text, .blob: throw mismatch(column, "a number")
        }
    }

    /// A truth value, kept as 0 or 1.
    package func flag(_ column: String) throws -> Bool {
        switch try value(column) {
        case .integer(0): false
        case .integer(1): true
        case .null, .integer, .real, .text, .blob: throw mismatch(column, "0 or 1")
        }
    }

    private func mismatch(_ column: String, _ expected: String) -> SQLError {
        SQLError(.statement, "column \(column) holds something else than \(expected)")
    }
}

/// A statement, a constraint or the connection failed.
package struct SQLError: Error, Sendable, CustomStringConvertible {
    package enum Code: Hashable, Sendable {
        /// Unique, check or foreign-key constraint, with its name or the columns where the engine tells.
        case constraint(String)
        /// Another transaction stood in the way: the whole transaction may be tried again.
        case conflict
        /// No connection, or it broke: whether the transaction was committed is not known.
        case connection
        /// The disk is full, the file read-only or damaged.
        case storage
        /// The engine does not understand the statement, or a value has not the type asked for: a defect of ours.
        case statement
    }

    package let code: Code
    package let message: String

    package init(_ code: Code, _ message: String) {
        self.code = code
        self.message = message
    }

    package var description: String { "\(code): \(message)" }
}

/// A transaction under way.
package protocol SQLTransaction: Sendable {
    /// Runs a statement and returns its rows (also those of `RETURNING`).
    func query(_ statement: SQLStatement) async throws -> [SQLRow]

    /// Runs a statement and returns how many rows it changed (by itself, not by triggers). Of statements that insert, update and delete
    /// nothing the number means nothing.
    @discardableResult
    func execute(_ statement: SQLStatement) async throws -> Int

    /// Runs statements one after the other, each seeing what is so at its own beginning, and returns the rows of each: in one exchange where the
    /// engine is far away.
    func queries(_ statements: [SQLStatement]) async throws -> [[SQLRow]]

    /// Runs a statement of which nothing is asked back. Where the engine is far away it goes there with the transaction's next statement, or
    /// with its end, and an error comes up there.
    func post(_ statement: SQLStatement) async throws

    /// Runs several statements without values, such as a schema, one after the other.
    func script(_ text: String) async throws
}

/// One of the two engines. Names what a statement must be written differently for; everything else is common SQL.
package enum SQLDialect: Sendable {
    case sqlite
    case postgres
}

/// A database: the one interface that the store is written against.
package protocol SQLDatabase: Sendable {
    var dialect: SQLDialect { get }

    /// Runs the body in one read-only transaction with a consistent view.
    func read<T: Sendable>(_ body: @Sendable (any SQLTransaction) async throws -> T) async throws -> T

    /// Runs the body in one durable read-write transaction: committed when it returns, rolled back when it throws. A transaction that
    /// lost against another (``SQLError/Code/conflict``) is run again, so the body must have no effect outside of it.
    @discardableResult
    func write<T: Sendable>(_ body: @Sendable (any SQLTransaction) async throws -> T) async throws -> T

    /// A signal for each time that work may have become due by anybody's commit, in this process or another. Signals may be merged and
    /// may come without cause; none is missed.
    func changes() -> AsyncStream<Void>

    /// Ends all connections, after the transactions under way.
    func close() async
}
