import ArgumentParser
import Foundation
import Yams

/// How a command prints what it has to show.
package enum OutputFormat: String, CaseIterable, ExpressibleByArgument {
    /// For people, as climc prints it.
    case table
    /// What the API gives, keys sorted; a list is an array.
    case json
    case yaml

    /// Writes one thing: as a table of its fields, or encoded in full.
    package func print(_ value: some Encodable, table: @autoclosure () -> String) throws {
        Terminal.output.write(try text(value, table: table()))
    }

    /// The same as text, a line break at its end.
    package func text(_ value: some Encodable, table: @autoclosure () -> String) throws -> String {
        switch self {
        case .table:
            return table()
        case .json:
            let encoder = JSONEncoder()
            encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
            return String(decoding: try encoder.encode(value), as: UTF8.self) + "\n"
        case .yaml:
            let encoder = YAMLEncoder()
            encoder.options.sortKeys = true
            encoder.options.allowUnicode = true
            return try encoder.encode(value)
        }
    }
}
