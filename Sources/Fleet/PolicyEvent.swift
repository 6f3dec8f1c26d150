/// Something that an agent did about a migration by itself, for the history: what and why, and the numbers that it went by.
package struct PolicyEvent: Hashable, Sendable, Codable {
    package var reason: Reason
    /// By name: milliseconds, bytes, bytes a second, rounds, per cent.
    package var numbers: [String: Int64]

    package init(_ code: Reason.Code, _ message: String, numbers: [String: Int64] = [:]) {
        self.reason = Reason(code, message)
        self.numbers = numbers
    }
}
