package import AgentAPI
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
        try await end(paths)
        for path in [paths.tpmSocket, paths.tpmPID] { unlink(path) }
        _ = try await Program.succeed(
            swtpm,
            [
                "socket", "--tpm2", "--tpmstate", "dir=\(state),mode=0600", "--ctrl", "type=unixio,path=\(paths.tpmSocket),mode=0600",
                "--pid", pidOption(paths), "--log", "file=\(paths.tpmLog)", "--daemon", "--terminate",
            ], deadline: .seconds(20), code: .agentError, for: "the TPM of server \(paths.server) cannot be started")
    }

    /// Has none left. One whose QEMU has just ended is given the time to see that; another is killed: it has nothing that is not on the disk.
    /// - Throws: ``AgentProblem`` when it is still there, or when that cannot be seen.
    package static func end(_ paths: GuestPaths) async throws(AgentProblem) {
        guard let process = try find(paths) else { return }
        let deadline = ContinuousClock.now.advanced(by: .seconds(2))
        while process.isAlive, ContinuousClock.now < deadline { await pause() }
        if process.isAlive { try process.signal(SIGKILL) }
        while process.isAlive {
            guard ContinuousClock.now < deadline.advanced(by: .seconds(8)) else {
                throw AgentProblem(
                    .failed, .agentError, "the TPM of server \(paths.server) (pid \(process.pid)) was killed and is still there")
            }
            await pause()
        }
    }

    /// Without cancellation: what is to end must be gone when others go on.
    private static func pause() async {
        await Bell().wait(after: 0, until: .now.advanced(by: .milliseconds(10)))
    }

    private static func pidOption(_ paths: GuestPaths) -> String { "file=\(paths.tpmPID)" }

    private static func find(_ paths: GuestPaths) throws(AgentProblem) -> KernelProcess? {
        try KernelProcess.find(pidFile: paths.tpmPID, naming: pidOption(paths))
    }

    /// Its pid, while there is one.
    package static func pid(_ paths: GuestPaths) throws(AgentProblem) -> Int32? { try find(paths)?.pid }
}
