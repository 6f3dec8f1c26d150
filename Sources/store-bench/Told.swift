import Foundation

/// Prints what was measured as a line of JSON.
func tell(_ values: [String: Double], _ texts: [String: String] = [:]) {
    var fields = values.sorted { $0.key < $1.key }.map { "\"\($0.key)\": \($0.value)" }
    fields += texts.sorted { $0.key < $1.key }.map { "\"\($0.key)\": \"\($0.value)\"" }
    print("{\(fields.joined(separator: ", "))}")
    fflush(nil)
}

extension Duration {
    var seconds: Double { Double(components.seconds) + Double(components.attoseconds) * 1e-18 }
}
