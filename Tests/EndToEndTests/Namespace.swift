import Foundation
import Synchronization
import Testing

#if canImport(System)
    import System
#else
    import SystemPackage
#endif

/// A machine of its own as far as the kernel can make one: network, mounts, processes and host name apart from all others. It has no name
/// in the file system and lives as long as its first process, which ends with the process that made it.
final class Namespace: Sendable {
    let name: String
    private let holder: Spawned
    /// Its first process reads this to its end.
    private let lifeline: Mutex<FileDescriptor?>

    init(_ name: String) async throws {
        self.name = name
        let ends = try FileDescriptor.pipe()
        // Nobody else may inherit an end of it.
        for end in [ends.readEnd, ends.writeEnd] { _ = fcntl(end.rawValue, F_SETFD, FD_CLOEXEC) }
        // SIGCHLD ignored: the kernel buries orphans, as an init would.
        let script = """
            mount -t sysfs sysfs /sys && ip link set lo up && hostname \(name) && echo ready && exec env --ignore-signal=CHLD cat
            """
        let output = FileManager.default.temporaryDirectory.appending(path: "godwit-ns-\(UUID().uuidString)")
        holder = try Spawned(
            ["unshare", "--net", "--mount", "--uts", "--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-c", script],
            log: output, input: ends.readEnd)
        lifeline = Mutex(ends.writeEnd)
        defer { try? FileManager.default.removeItem(at: output) }
        let holder = holder
        do {
            try await eventually("namespace \(name) is made", within: .seconds(20)) {
                let said = try String(contentsOf: output, encoding: .utf8)
                guard holder.isRunning else { throw Failure("namespaces cannot be made (as root?): \(said)") }
                return said.contains("ready")
            }
        } catch {
            end()
            throw error
        }
    }

    /// What runs a program inside.
    ///
    /// - Parameter processes: whether its processes are the only ones that it sees, and it ends with them.
    func command(processes: Bool = true) -> [String] {
        let ns = "/proc/\(holder.pid)/ns"
        return ["nsenter", "--net=\(ns)/net"]
            + (processes ? ["--mount=\(ns)/mnt", "--uts=\(ns)/uts", "--pid=\(ns)/pid_for_children"] : []) + ["--"]
    }

    /// Its pid, to give an interface to it.
    var pid: Int32 { holder.pid }

    /// Runs `ip` on its interfaces, with the words of one line.
    @discardableResult
    func ip(_ words: String) async throws -> String {
        let line = command(processes: false) + ["ip"] + words.split(separator: " ").map(String.init)
        let answer = try await execute(line)
        guard answer.status == 0 else { throw Failure("ip \(words) in \(name): \(answer.error)") }
        return answer.output
    }

    /// A power cut: all its processes are killed at once, and its interfaces go with them.
    func end() {
        lifeline.withLock { end in
            try? end?.close()
            end = nil
        }
        holder.signal(SIGKILL)
    }
}
