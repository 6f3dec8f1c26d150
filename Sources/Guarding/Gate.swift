import AgentAPI
import Fleet
import Glibc
import Hypervisor

/// A hold on the gate through which marked guests are started.
///
/// The kernel lets go of it with the process. Guests that are started meanwhile do not inherit it.
package final class Gate: Sendable {
    private let descriptor: Int32

    /// - Parameter isAlone: nobody else may hold it.
    /// - Returns: nil while others hold it.
    /// - Throws: ``AgentProblem``
    package static func take(_ path: String, isAlone: Bool) throws -> Gate? {
        let descriptor = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else { throw AgentProblem(.failed, .agentError, "\(path) cannot be opened: \(systemMessage(errno))") }
        let gate = Gate(descriptor)
        return flock(descriptor, (isAlone ? LOCK_EX : LOCK_SH) | LOCK_NB) == 0 ? gate : nil
    }

    private init(_ descriptor: Int32) {
        self.descriptor = descriptor
    }

    deinit {
        close(descriptor)
    }
}
