/// The end of a command that did not do what was asked, told in one sentence.
package struct CommandFailure: Error, Equatable, CustomStringConvertible {
    /// 1: refused or failed. 2: the command line or a file it names is wrong.
    package let exitCode: Int32
    package let message: String

    package init(exitCode: Int32, message: String) {
        self.exitCode = exitCode
        self.message = message
    }

    package static func failed(_ message: String) -> CommandFailure { CommandFailure(exitCode: 1, message: message) }
    package static func usage(_ message: String) -> CommandFailure { CommandFailure(exitCode: 2, message: message) }

    package var description: String { message }
}
