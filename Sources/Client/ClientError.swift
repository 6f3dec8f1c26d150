/// Why the controller could not be asked, or what it refused.
package struct ClientError: Error, Sendable, CustomStringConvertible {
    package struct Code: Hashable, Sendable, CustomStringConvertible {
        package let description: String

        init(_ description: String) { self.description = description }

        /// The controller answered with a ``Problem``.
        package static let problem = Code("problem")
        /// No connection to the controller, or it broke. What was asked may have been done.
        package static let unreachable = Code("unreachable")
        /// No answer in time. What was asked may have been done, or be still under way.
        package static let deadline = Code("deadline")
        /// What answered does not speak this API.
        package static let unexpectedAnswer = Code("unexpected-answer")
        /// The client was set up with something that cannot work: address, CA file.
        package static let configuration = Code("configuration")
    }

    package let code: Code
    /// A whole sentence that names the thing and the remedy.
    package let message: String
    /// Set exactly for ``Code/problem``.
    package let problem: Problem?
    package let cause: (any Error)?

    package init(_ code: Code, _ message: String, problem: Problem? = nil, cause: (any Error)? = nil) {
        self.code = code
        self.message = message
        self.problem = problem
        self.cause = cause
    }

    package init(_ problem: Problem) {
        self.init(.problem, problem.detail, problem: problem)
    }

    package var description: String { message }
}
