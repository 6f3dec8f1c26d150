import Client
import Foundation

/// The history as JSON lines: an object a row, its fields in the order of their names.
enum HistoryLines {
    static func text(_ rows: [TransitionView]) throws -> String {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        return try rows.map { String(decoding: try encoder.encode($0), as: UTF8.self) + "\n" }.joined()
    }
}
