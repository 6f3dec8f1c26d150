import Crypto
import Fleet
import Foundation
package import SQL

/// What makes the history tamper-evident: each row's hash is over the row and the hash of the one before it of its migration. How is written in
/// the schema, so that anybody can check it.
package enum HistoryHash {
    /// The columns in their order, without the hash of the row before.
    package static let columns = [
        "migration_id", "server_id", "at", "from_state", "to_state", "direction", "attempt", "epoch", "source_id", "target_id", "actor",
        "step",
        "reason_code", "reason_message", "numbers", "mode",
    ]

    static let columnList = SQLStatement(stringLiteral: columns.joined(separator: ", "))

    /// - Parameters:
    ///   - previous: the hash of the migration's row before; empty for the first.
    ///   - values: of ``columns``.
    package static func of(_ values: [SQLValue], after previous: String) -> String {
        var text = field(previous)
        for value in values {
            switch value {
            case .null: text += "-,"
            case .integer(let number): text += field(String(number))
            case .text(let content): text += field(content)
            // No column of the history holds any.
            case .real(let number): text += field(String(number))
            case .blob(let bytes): text += field(String(decoding: bytes, as: UTF8.self))
            }
        }
        return SHA256.hash(data: Data(text.utf8)).map { byte in
            (byte < 16 ? "0" : "") + String(byte, radix: 16)
        }.joined()
    }

    private static func field(_ text: String) -> String { "\(text.utf8.count):\(text)," }
}

extension MigrationChange.HistoryNote {
    /// The row of the history, as the values of ``HistoryHash/columns``.
    func values(of migration: Migration, at time: Timestamp) throws -> [SQLValue] {
        func text(_ text: String?) -> SQLValue { text.map(SQLValue.text) ?? .null }
        return [
            .text(migration.id.value), .text(migration.server.value), .integer(time.milliseconds), text(from?.rawValue),
            .text(migration.state.rawValue), .text(migration.direction.rawValue), .integer(Int64(migration.attempt)),
            .integer(migration.epoch.value), .text(migration.source.value), text(migration.target?.value), .text(actor), text(step),
            text(reason?.code.value), text(reason?.message), .text(numbers.isEmpty ? "{}" : try JSON.text(numbers)),
            .text(migration.mode.rawValue),
        ]
    }
}
