/// A failure of a step, with what it means for the migration's next try.
package struct Fault: Error, Hashable, Sendable, Codable, CustomStringConvertible {
    /// What another try could change.
    package enum Remedy: String, Sendable, Codable {
        /// Another try on the same target may do.
        case sameTarget = "same-target"
        /// The target is to blame: leave it out.
        case otherTarget = "other-target"
        /// No try will help.
        case none
    }

    package let reason: Reason
    package let remedy: Remedy

    package init(_ reason: Reason, remedy: Remedy) {
        self.reason = reason
        self.remedy = remedy
    }

    package init(_ code: Reason.Code, _ message: String, remedy: Remedy) {
        self.init(Reason(code, message), remedy: remedy)
    }

    package var description: String { reason.description }
}
