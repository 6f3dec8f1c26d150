import AgentAPI
import Fleet
import Foundation
import Glibc

/// The swtpm process that is a guest's TPM.
///
/// It is started before QEMU, which connects to it, and ends by itself when that connection does, however QEMU ends (`--terminate`). It runs
/// in a session of its own, so that it outlives the agent as QEMU does.
package enum TPMEmulator {
    /// Starts it, in place of one that an earlier QEMU has left.
    /// - Parameter state: the folder of what the TPM keeps, which is there; a new TPM makes itself in it.
    package static func start(_ swtpm: String, state: String, paths: GuestPaths) async throws {
        await end(paths)
        for path in [paths.tpmSocket, paths.tpmPID] { unlink(path) }
        _ = try await Program.succeed(
            swtpm,
            [
                "socket", "--tpm2", "--tpmstate", "dir=\(state),mode=0600", "--ctrl", "type=unixio,path=\(paths.tpmSocket),mode=0600",
                "--pid", pidOption(paths), "--log", "file=\(paths.tpmLog)", "--daemon", "--terminate",
            ], deadline: .seconds(20), code: .agentError, for: "the TPM of server \(paths.server) cannot be started")
    }

    /// Has none left. One whose QEMU has just ended is given the time to see that; another is killed: it has nothing that is not on the disk.
    package static func end(_ paths: GuestPaths) async {
        guard let pid = pid(paths) else { return }
        let deadline = ContinuousClock.now.advanced(by: .seconds(2))
        while isAlive(pid, paths), ContinuousClock.now < deadline { await pause() }
        if isAlive(pid, paths) { kill(pid, SIGKILL) }
        while isAlive(pid, paths), ContinuousClock.now < deadline.advanced(by: .seconds(8)) { await pause() }
    }

    /// Without cancellation: what is to end must be gone when others go on.
    private static func pause() async {
        await Bell().wait(after: 0, until: .now.advanced(by: .milliseconds(10)))
    }

    private static func pidOption(_ paths: GuestPaths) -> String { "file=\(paths.tpmPID)" }

    /// The process, while there is one; told from others by its command line.
    package static func pid(_ paths: GuestPaths) -> Int32? {
        FileManager.default.contents(atPath: paths.tpmPID)
            .flatMap { Int32(String(decoding: $0, as: UTF8.self).trimmingCharacters(in: .whitespacesAndNewlines)) }
            .flatMap { isAlive($0, paths) ? $0 : nil }
    }

    /// A zombie has no command line.
    private static func isAlive(_ pid: Int32, _ paths: GuestPaths) -> Bool {
        guard let line = FileManager.default.contents(atPath: "/proc/\(pid)/cmdline") else { return false }
        return line.split(separator: 0).contains { $0.elementsEqual(pidOption(paths).utf8) }
    }
}
