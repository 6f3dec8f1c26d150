import AgentAPI
import Fleet
import Glibc
import Hypervisor

/// A watchdog device: unless it is fed, the kernel or the hardware starts the host anew.
package final class Watchdog {
    private let descriptor: Int32
    /// Less than what a guard has for ending guests: a guard that died with the lease's last moment is made up for in time.
    static let timeoutSeconds: Int32 = 8

    /// Opens it, which starts it.
    /// - Throws: ``AgentProblem`` when it cannot be opened, or does not take the time that it must.
    package init(_ path: String) throws {
        descriptor = open(path, O_WRONLY | O_CLOEXEC)
        guard descriptor >= 0 else {
            throw AgentProblem(.failed, .agentError, "the watchdog \(path) cannot be opened: \(systemMessage(errno))")
        }
        // WDIOC_SETTIMEOUT of linux/watchdog.h, a macro that Swift does not see: _IOWR('W', 6, int). It answers what was set.
        var seconds = Self.timeoutSeconds
        let problem = ioctl(descriptor, 0xC004_5706, &seconds) == 0 ? nil : systemMessage(errno)
        guard problem == nil, seconds <= Self.timeoutSeconds else {
            // Closed in order it does not bite.
            disarm()
            close(descriptor)
            throw AgentProblem(
                .failed, .agentError,
                "the watchdog \(path) cannot be set to \(Self.timeoutSeconds) s (\(problem ?? "it takes \(seconds) s")): name another, or none"
            )
        }
    }

    deinit {
        close(descriptor)
    }

    func feed() {
        var byte: UInt8 = 0
        _ = write(descriptor, &byte, 1)
    }

    /// Has the host live on without being fed: the device's magic close.
    func disarm() {
        var byte = UInt8(ascii: "V")
        _ = write(descriptor, &byte, 1)
    }
}
