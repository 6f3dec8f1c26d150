import Foundation
import Identity
import Output

/// What a fleet of `godwit dev` remembers of itself from run to run.
package struct DevSettings: Codable, Equatable, Sendable {
    package var hosts: Int
    package var runDirectory: String
    /// By process, the port it listened on last.
    var ports: [String: Int]

    /// Nil where there was no run yet.
    package static func load(_ path: String) throws -> DevSettings? {
        guard FileManager.default.fileExists(atPath: path) else { return nil }
        do {
            return try JSONDecoder().decode(DevSettings.self, from: Data(contentsOf: URL(fileURLWithPath: path)))
        } catch {
            throw CommandFailure.failed("\(path) cannot be read as the settings of a fleet; move its folder away to start afresh: \(error)")
        }
    }

    func save(_ path: String) throws {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
        try DurableFile.write(String(decoding: try encoder.encode(self), as: UTF8.self) + "\n", to: path, mode: 0o600)
    }
}
