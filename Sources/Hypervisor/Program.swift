import AgentAPI
package import Fleet
import Foundation
import Glibc
import Subprocess

/// A program that is run to its end.
package enum Program {
    package struct Outcome: Sendable {
        /// 0 when it went well; 128 and the signal when one ended it.
        package let status: Int32
        package let output: String
        package let error: String
    }

    /// - Throws: ``AgentProblem`` when it cannot be started or does not end in time (it is killed then).
    package static func run(_ program: String, _ arguments: [String], deadline: Duration) async throws -> Outcome {
        // A program that is given by its path is started through env, which searches nothing then.
        let isPath = program.contains("/")
        let executable = Executable.name(isPath ? "env" : program)
        let arguments = isPath ? [program] + arguments : arguments
        return try await withThrowingTaskGroup(of: Outcome?.self) { group in
            group.addTask {
                do {
                    let result = try await Subprocess.run(
                        executable, arguments: Arguments(arguments), output: .string(limit: 4 << 20), error: .string(limit: 1 << 20))
                    let status: Int32 =
                        switch result.terminationStatus {
                        case .exited(let code): code
                        case .signaled(let signal): 128 + signal
                        }
                    return Outcome(status: status, output: result.standardOutput, error: result.standardError)
                } catch let error as SubprocessError {
                    throw AgentProblem(.failed, .agentError, "\(program) could not be run: \(error). Is it installed?")
                }
            }
            group.addTask {
                // The deadline itself: the program's end cancels it.
                try await Task.sleep(for: deadline)
                return nil
            }
            defer { group.cancelAll() }
            guard let first = try await group.next(), let outcome = first else {
                throw AgentProblem(.failed, .agentError, "\(program) did not end within \(deadline) and was killed")
            }
            return outcome
        }
    }

    /// Whether there is such a program: at that path, or by that name where programs are looked for.
    package static func isInstalled(_ program: String) -> Bool {
        if program.contains("/") { return access(program, X_OK) == 0 }
        return (ProcessInfo.processInfo.environment["PATH"] ?? "").split(separator: ":").contains { access("\($0)/\(program)", X_OK) == 0 }
    }

    /// Runs it and takes anything but success as a failure of what it was for.
    package static func succeed(
        _ program: String, _ arguments: [String], deadline: Duration, code: Reason.Code, for purpose: String
    ) async throws -> String {
        let outcome = try await run(program, arguments, deadline: deadline)
        guard outcome.status == 0 else {
            let told = outcome.error.trimmingCharacters(in: .whitespacesAndNewlines)
            throw AgentProblem(
                .failed, told.contains("No space left") ? .diskFull : code,
                "\(purpose): \(program) ended with status \(outcome.status)\(told.isEmpty ? "" : ": \(told)")")
        }
        return outcome.output
    }
}
