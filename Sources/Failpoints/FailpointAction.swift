/// What happens at a failure point: `fail`, `kill`, `delay:250`, `hold`.
package enum FailpointAction: Hashable, Sendable {
    /// An error, as if what the point is named after had failed.
    case fail
    /// SIGKILL to the process itself.
    case kill
    /// Milliseconds.
    case delay(Int64)
    /// It waits until it is let go (``FailpointFolder``).
    case hold

    /// - Throws: ``UnknownFailpointAction``.
    package init(_ text: String) throws {
        let words = text.split(separator: ":", omittingEmptySubsequences: false)
        switch (words.first, words.count) {
        case ("fail", 1): self = .fail
        case ("kill", 1): self = .kill
        case ("hold", 1): self = .hold
        case ("delay", 2):
            guard let milliseconds = Int64(words[1]), milliseconds >= 0 else { throw UnknownFailpointAction(text: text) }
            self = .delay(milliseconds)
        default: throw UnknownFailpointAction(text: text)
        }
    }
}

package struct UnknownFailpointAction: Error, CustomStringConvertible {
    package let text: String
    package var description: String {
        "\"\(text)\" is nothing that can happen at a failure point: give fail, kill, hold or delay:MILLISECONDS"
    }
}

/// What a point says that was made to fail.
package struct FailpointFailure: Error, Hashable, Sendable, CustomStringConvertible {
    package let point: Failpoint
    package var description: String { "failure point \(point) was told to fail" }
}
