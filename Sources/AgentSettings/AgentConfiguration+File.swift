import AgentAPI
import Fleet
import Foundation
package import Hypervisor
import Yams

extension AgentConfiguration {
    /// Reads a YAML file.
    /// - Throws: ``AgentProblem`` of kind `invalid`, which says what is wrong and where.
    package init(file config: String) throws {
        do {
            let text = try String(contentsOfFile: config, encoding: .utf8)
            self = try YAMLDecoder().decode(AgentConfiguration.self, from: text)
        } catch let error as DecodingError {
            throw AgentProblem(.invalid, .invalidRequest, "\(config) is not understood: \(Self.sentence(error))")
        } catch {
            throw AgentProblem(.invalid, .invalidRequest, "\(config) cannot be read: \(error.localizedDescription)")
        }
    }

    /// What is wrong and where, without the type names of the program.
    private static func sentence(_ error: DecodingError) -> String {
        func place(_ path: [any CodingKey], _ key: (any CodingKey)? = nil) -> String {
            let names = (path + (key.map { [$0] } ?? [])).map { key in key.intValue.map { "\($0 + 1)" } ?? key.stringValue }
            return names.isEmpty ? "" : "`\(names.joined(separator: "."))`: "
        }
        switch error {
        case .keyNotFound(let key, let context): return place(context.codingPath, key) + "is missing"
        case .typeMismatch(_, let context), .valueNotFound(_, let context), .dataCorrupted(let context):
            return place(context.codingPath) + context.debugDescription
        @unknown default: return "\(error)"
        }
    }
}
