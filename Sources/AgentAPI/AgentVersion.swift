import Fleet

/// The version of the agents' API: orders, reports, and what they mean. Whoever asks and whoever answers both say theirs in a header; two
/// that are adjacent work together, so that a fleet can be brought up to date one process after the other.
package enum AgentVersion {
    package static let current = 2
    package static let header = "godwit-agent-api"
    /// Of those that say none.
    package static let unsaid = 1

    /// - Parameter text: what the header of the other side says; nil without one.
    /// - Throws: ``AgentProblem`` `incompatible-version` unless both work together.
    package static func require(_ text: String?, of other: String, own: Int = current) throws(AgentProblem) {
        guard let number = text.map({ Int($0) }) ?? unsaid else {
            throw AgentProblem(
                .invalid, .incompatibleVersion, "\(other) says “\(text ?? "")” for its version of the agents' interface: a number is needed"
            )
        }
        guard !(own - 1...own + 1).contains(number) else { return }
        let older = number < own ? other : "this side"
        throw AgentProblem(
            .invalid, .incompatibleVersion,
            "\(other) has version \(number) of the agents' interface and this side \(own), and only adjacent versions work together: bring \(older) up to date, step by step"
        )
    }
}
