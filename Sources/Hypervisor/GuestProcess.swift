package import AgentAPI
import Failpoints
import Fleet
import Foundation
import Glibc
package import Logging
package import QMP

/// A QEMU that is there, with both its monitors.
///
/// It outlives the agent that started it.
package final class GuestProcess: Sendable {
    private let process: KernelProcess
    package let paths: GuestPaths
    package let monitor: QMPClient
    /// Connected for out-of-band execution: for what must be done while the other hangs.
    package let rescue: QMPClient

    private init(_ process: KernelProcess, _ paths: GuestPaths, monitor: QMPClient, rescue: QMPClient) {
        self.process = process
        self.paths = paths
        self.monitor = monitor
        self.rescue = rescue
    }

    /// Starts QEMU; it waits for `cont` or for a migration.
    /// - Throws: ``AgentProblem`` with what QEMU wrote when it would not start.
    package static func spawn(_ qemu: String, _ arguments: [String], paths: GuestPaths, logger: Logger) async throws -> GuestProcess {
        // What an earlier start left that failed and could not see to its QEMU.
        if let process = try KernelProcess.find(pidFile: paths.pid) { try await end(process) }
        for path in [paths.monitor, paths.rescue, paths.pid] { unlink(path) }
        do {
            try await Failpoints.reach(.launch(.before))
            let outcome = try await Program.run(qemu, arguments, deadline: .seconds(40))
            try await Failpoints.reach(.launch(.after))
            guard outcome.status == 0 else {
                // With -D the messages of a QEMU that got that far are in its log.
                let log = FileManager.default.contents(atPath: paths.log).map { String(decoding: $0.suffix(600), as: UTF8.self) } ?? ""
                let told = (outcome.error.isEmpty ? log : outcome.error).trimmingCharacters(in: .whitespacesAndNewlines)
                throw AgentProblem(.failed, Self.code(told), "QEMU did not start (status \(outcome.status)): \(told)")
            }
            guard let process = try await find(paths, logger: logger) else {
                throw AgentProblem(.failed, .qemuError, "QEMU started and ended at once: see \(paths.log)")
            }
            return process
        } catch {
            if let process = try KernelProcess.find(pidFile: paths.pid) { try await end(process) }
            throw error
        }
    }

    private static func code(_ told: String) -> Reason.Code {
        told.contains("annot allocate memory") || told.contains("cannot set up guest memory") ? .memoryShort : .qemuError
    }

    /// How long a monitor may take to greet: the connection of an agent that has just died must end first.
    private static let patience = Duration.seconds(10)

    /// Finds the QEMU that an earlier agent started; nil when it is there no more.
    /// - Throws: ``AgentProblem`` when it is there and its monitor does not answer, or when it cannot be seen whether it is there.
    package static func find(_ paths: GuestPaths, logger: Logger) async throws -> GuestProcess? {
        guard let process = try KernelProcess.find(pidFile: paths.pid) else { return nil }
        do {
            async let monitor = QMPClient.connect(path: paths.monitor, deadline: Self.patience, logger: logger)
            async let rescue = QMPClient.connect(path: paths.rescue, enableOOB: true, deadline: Self.patience, logger: logger)
            return GuestProcess(process, paths, monitor: try await monitor, rescue: try await rescue)
        } catch {
            guard process.isAlive else { return nil }
            throw AgentProblem(
                .failed, .qemuError,
                "QEMU of server \(paths.server) is there (pid \(process.pid)) and its monitor does not answer: \(error)")
        }
    }

    package var pid: Int32 { process.pid }
    package var isAlive: Bool { process.isAlive }

    /// The pid of a QEMU that an earlier agent started, whether or not its monitor answers; nil when it is there no more.
    /// - Throws: ``AgentProblem`` when that cannot be seen.
    package static func left(_ paths: GuestPaths) throws(AgentProblem) -> Int32? {
        try KernelProcess.find(pidFile: paths.pid)?.pid
    }

    /// Leaves its monitors to another client; the guest does not notice.
    package func leave() {
        monitor.close()
        rescue.close()
    }

    /// Waits for the process to be gone.
    package func waitForEnd(until deadline: ContinuousClock.Instant) async -> Bool {
        await process.waitForEnd(until: deadline)
    }

    /// Ends it as if the power had been cut: by its monitor, and where that does not answer, by SIGKILL.
    package func end() async throws {
        do {
            try await monitor.quit(deadline: .seconds(2))
        } catch let error as QMPError where error.code == .connectionClosed {
            // It ended before it answered, or had ended before.
        } catch is QMPError {
            try await Self.end(process)
        }
        if await waitForEnd(until: .now.advanced(by: .seconds(3))) { return }
        try await Self.end(process)
        guard !isAlive else {
            throw AgentProblem(.failed, .qemuError, "QEMU of server \(paths.server) (pid \(pid)) does not end, not even when killed")
        }
    }

    /// Ends it without a word: what it would still write on its way out would go into somebody else's disk.
    /// - Throws: ``AgentProblem`` when it is still there.
    package func kill() async throws {
        try await Self.kill(process, paths)
    }

    /// The same to one that an earlier agent started, whether its monitor answers or not. False when there is none.
    package static func killLeft(_ paths: GuestPaths) async throws -> Bool {
        guard let process = try KernelProcess.find(pidFile: paths.pid) else { return false }
        try await kill(process, paths)
        return true
    }

    private static func kill(_ process: KernelProcess, _ paths: GuestPaths) async throws {
        try await end(process)
        guard !process.isAlive else {
            throw AgentProblem(.failed, .qemuError, "QEMU of server \(paths.server) (pid \(process.pid)) was killed and is still there")
        }
    }

    private static func end(_ process: KernelProcess) async throws(AgentProblem) {
        try process.signal(SIGKILL)
        _ = await process.waitForEnd(until: .now.advanced(by: .seconds(10)))
    }

    /// Nanoseconds that the threads have executed (`/proc/…/schedstat`); 0 for those that are gone.
    package func executed(threads: [Int]) -> UInt64 {
        threads.reduce(0) { sum, thread in
            let text = FileManager.default.contents(atPath: "/proc/\(pid)/task/\(thread)/schedstat").map {
                String(decoding: $0, as: UTF8.self)
            }
            return sum + (text?.split(separator: " ").first.flatMap { UInt64($0) } ?? 0)
        }
    }
}
