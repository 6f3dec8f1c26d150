import AgentAPI
package import Fleet
import Foundation
import Glibc

/// Reads the host's own clock.
package enum BootClock {
    /// - Throws: ``AgentProblem`` where the kernel tells no `boot_id`.
    package static func now() throws -> BootTime {
        BootTime(bootID: try bootID.get(), milliseconds: milliseconds)
    }

    package static var milliseconds: Int64 {
        var time = timespec()
        clock_gettime(CLOCK_BOOTTIME, &time)
        return Int64(time.tv_sec) * 1000 + Int64(time.tv_nsec) / 1_000_000
    }

    /// It does not change while a process lives.
    private static let bootID = Result<String, AgentProblem> { () throws(AgentProblem) in
        let path = "/proc/sys/kernel/random/boot_id"
        guard let bytes = FileManager.default.contents(atPath: path) else {
            throw AgentProblem(.failed, .agentError, "\(path) cannot be read")
        }
        return String(decoding: bytes, as: UTF8.self).trimmingCharacters(in: .whitespacesAndNewlines)
    }
}
