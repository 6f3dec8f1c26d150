/// The end of a command that did not do what was asked, told in one sentence.
struct CommandFailure: Error, Equatable, CustomStringConvertible {
    /// 1: refused or failed. 2: the command line or a file it names is wrong.
    let exitCode: Int32
    let message: String

    static func failed(_ message: String) -> CommandFailure { CommandFailure(exitCode: 1, message: message) }
    static func usage(_ message: String) -> CommandFailure { CommandFailure(exitCode: 2, message: message) }

    var description: String { message }
}
