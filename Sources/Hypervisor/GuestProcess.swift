import AgentAPI
import Fleet
import Foundation
import Glibc
package import Logging
package import QMP

/// A QEMU that is there, with both its monitors.
///
/// It is told from any other process by its pid, the time the kernel says that one started, and the pid file's path on its command line.
package final class GuestProcess: Sendable {
    package let pid: Int32
    private let startTime: UInt64
    package let paths: GuestPaths
    package let monitor: QMPClient
    /// Connected for out-of-band execution: for what must be done while the other hangs.
    package let rescue: QMPClient

    private init(pid: Int32, startTime: UInt64, paths: GuestPaths, monitor: QMPClient, rescue: QMPClient) {
        self.pid = pid
        self.startTime = startTime
        self.paths = paths
        self.monitor = monitor
        self.rescue = rescue
    }

    /// Starts QEMU; it waits for `cont` or for a migration.
    /// - Throws: ``AgentProblem`` with what QEMU wrote when it would not start.
    package static func spawn(_ qemu: String, _ arguments: [String], paths: GuestPaths, logger: Logger) async throws -> GuestProcess {
        for path in [paths.monitor, paths.rescue, paths.pid] { unlink(path) }
        do {
            let outcome = try await Program.run(qemu, arguments, deadline: .seconds(40))
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
            if let pid = readPID(paths), let start = startTime(pid, paths) { await end(pid, start) }
            throw error
        }
    }

    private static func code(_ told: String) -> Reason.Code {
        told.contains("annot allocate memory") || told.contains("cannot set up guest memory") ? .memoryShort : .qemuError
    }

    /// How long a monitor may take to greet: the connection of an agent that has just died must end first.
    private static let patience = Duration.seconds(10)

    /// Finds the QEMU that an earlier agent started; nil when it is there no more.
    /// - Throws: ``AgentProblem`` when it is there and its monitor does not answer.
    package static func find(_ paths: GuestPaths, logger: Logger) async throws -> GuestProcess? {
        guard let pid = readPID(paths), let start = startTime(pid, paths) else { return nil }
        do {
            async let monitor = QMPClient.connect(path: paths.monitor, deadline: Self.patience, logger: logger)
            async let rescue = QMPClient.connect(path: paths.rescue, enableOOB: true, deadline: Self.patience, logger: logger)
            return GuestProcess(pid: pid, startTime: start, paths: paths, monitor: try await monitor, rescue: try await rescue)
        } catch {
            guard startTime(pid, paths) != nil else { return nil }
            throw AgentProblem(
                .failed, .qemuError, "QEMU of server \(paths.server) is there (pid \(pid)) and its monitor does not answer: \(error)")
        }
    }

    private static func readPID(_ paths: GuestPaths) -> Int32? {
        FileManager.default.contents(atPath: paths.pid).flatMap {
            Int32(String(decoding: $0, as: UTF8.self).trimmingCharacters(in: .whitespacesAndNewlines))
        }
    }

    /// When this guest's QEMU started, in clock ticks since boot; nil when there is no such process, or another one has the pid now.
    private static func startTime(_ pid: Int32, _ paths: GuestPaths) -> UInt64? {
        guard let line = FileManager.default.contents(atPath: "/proc/\(pid)/cmdline"),
            line.split(separator: 0).contains(where: { $0.elementsEqual(paths.pid.utf8) })
        else { return nil }
        return startTime(pid)
    }

    private static func startTime(_ pid: Int32) -> UInt64? { KernelProcess.startTime(of: pid) }

    package var isAlive: Bool { Self.startTime(pid) == startTime }

    /// The pid of a QEMU that an earlier agent started, whether or not its monitor answers; nil when it is there no more.
    package static func left(_ paths: GuestPaths) -> Int32? {
        readPID(paths).flatMap { startTime($0, paths) == nil ? nil : $0 }
    }

    /// Leaves its monitors to another client; the guest does not notice.
    package func leave() {
        monitor.close()
        rescue.close()
    }

    /// Waits for the process to be gone.
    package func waitForEnd(until deadline: ContinuousClock.Instant) async -> Bool {
        await Self.gone(pid, startTime, until: deadline)
    }

    private static func gone(_ pid: Int32, _ start: UInt64, until deadline: ContinuousClock.Instant) async -> Bool {
        while startTime(pid) == start {
            if ContinuousClock.now >= deadline { return false }
            // When cancelled the sleep returns at once, and so does this.
            do { try await Task.sleep(for: .milliseconds(5)) } catch { return false }
        }
        return true
    }

    /// Ends it as if the power had been cut: by its monitor, and where that does not answer, by SIGKILL.
    package func end() async throws {
        do {
            try await monitor.quit(deadline: .seconds(2))
        } catch let error as QMPError where error.code == .connectionClosed {
            // It ended before it answered, or had ended before.
        } catch is QMPError {
            await Self.end(pid, startTime)
        }
        if await waitForEnd(until: .now.advanced(by: .seconds(3))) { return }
        await Self.end(pid, startTime)
        guard !isAlive else {
            throw AgentProblem(.failed, .qemuError, "QEMU of server \(paths.server) (pid \(pid)) does not end, not even when killed")
        }
    }

    /// Ends it without a word: what it would still write on its way out would go into somebody else's disk.
    /// - Throws: ``AgentProblem`` when it is still there.
    package func kill() async throws {
        try await Self.kill(pid, startTime, paths)
    }

    /// The same to one that an earlier agent started, whether its monitor answers or not. False when there is none.
    package static func killLeft(_ paths: GuestPaths) async throws -> Bool {
        guard let pid = readPID(paths), let start = startTime(pid, paths) else { return false }
        try await kill(pid, start, paths)
        return true
    }

    private static func kill(_ pid: Int32, _ start: UInt64, _ paths: GuestPaths) async throws {
        await end(pid, start)
        guard startTime(pid) != start else {
            throw AgentProblem(.failed, .qemuError, "QEMU of server \(paths.server) (pid \(pid)) was killed and is still there")
        }
    }

    private static func end(_ pid: Int32, _ start: UInt64) async {
        guard startTime(pid) == start else { return }
        Glibc.kill(pid, SIGKILL)
        _ = await gone(pid, start, until: .now.advanced(by: .seconds(10)))
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
