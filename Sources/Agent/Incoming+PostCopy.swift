import AgentAPI
import Attempts
import Fleet
import Foundation
import Glibc
import Hypervisor
import Logging
import QMP

/// Post-copy at the target: the guest runs here and fetches what it lacks from the source.
extension Incoming {
    /// Whether the guest can run here and, by post-copy, nowhere else any more.
    /// - Throws: ``AgentProblem`` of kind `conflict` when QEMU does not say: then it may.
    func holdsOnlyCopy() async throws -> Bool {
        guard let record, record.phase == .prepared || record.phase == .received, record.streams?.isPostCopyAllowed == true else {
            return false
        }
        do {
            let sight = try await look(record)
            return sight.isAlive && (sight.memory == .postCopy || sight.memory == .interrupted)
        } catch let error as QMPError {
            throw AgentProblem(
                .conflict, .qemuError, "QEMU does not say whether post-copy has begun: the guest may be able to run here alone (\(error))")
        }
    }

    func notePostCopy(_ state: PostCopy) async throws {
        switch state {
        case .fetching, .interrupted: break
        case .complete: logger.info("post-copy is complete")
        case .lost: logger.error("QEMU ended before all of the guest's memory was here")
        }
        try await change { $0.postCopy = state }
        guard let record else { return }
        show(record.phase) { $0.postCopy = state }
    }

    /// QEMU has the connection before the source's is told to use it, and uses it only once the source has begun to: when a connection breaks
    /// between, QEMU 7.2 crashes.
    ///
    /// Its main loop hangs as soon as a device of the guest wants memory that is not here. Then it cannot be given the connection, and takes
    /// one from a relay of ours instead, which lives as long as this agent.
    /// - Returns: the relay, to be run; nil when QEMU has the connection itself.
    func rejoin(_ socket: StreamSocket, _ process: GuestProcess, count: Int) async throws -> StreamRelay? {
        try await pause(process)
        let name = "again-\(fingerprint(key.migration.value).prefix(8))-\(count)"
        socket.hold()
        let (monitor, path) = (process.monitor, process.paths.again)
        let isGiven = try await Self.answers {
            try await monitor.sendDescriptor(socket.descriptor, name: name, deadline: .seconds(1))
        }
        guard isGiven || record?.streams?.isEncrypted != true else {
            // QEMU 7.2 shakes hands on its main loop.
            throw AgentProblem(.failed, .connectionLost, "QEMU's main loop waits for memory, and cannot prove its peer meanwhile")
        }
        do {
            try await socket.send(StreamSocket.joined)
            guard try await socket.hasWord(within: .seconds(60)) else {
                throw AgentProblem(.failed, .connectionLost, "the source does not take the stream up")
            }
            if isGiven, try await Self.answers({ try await monitor.migrateRecover(uri: "fd:" + name, deadline: .seconds(5)) }) {
                return nil
            }
            logger.info("QEMU's main loop waits for memory: post-copy goes on over a relay")
            unlink(path)
            defer { unlink(path) }
            try await process.rescue.migrateRecover(uri: "unix:" + path, outOfBand: true)
            return try StreamRelay(socket, path: path)
        } catch {
            if isGiven {
                _ = try await Self.answers {
                    do {
                        try await monitor.closeDescriptor(name, deadline: .seconds(1))
                    } catch let error as QMPError where error.code == .command {}
                }
            }
            throw error
        }
    }

    /// False when QEMU's main loop does not answer in time. What it was told it may still do.
    private static func answers(_ body: () async throws -> Void) async throws -> Bool {
        do {
            try await body()
            return true
        } catch let error as QMPError where error.code == .deadline {
            return false
        }
    }

    /// A TLS handshake comes before QEMU's state moves.
    func awaitJoined() async throws {
        let begin = ContinuousClock.now
        while true {
            switch streamStatus {
            case "postcopy-recover" where begin.duration(to: .now) < .seconds(60): break
            case "postcopy-paused" where begin.duration(to: .now) < .seconds(10): break
            default: return
            }
            try await Task.sleep(for: .milliseconds(20))
        }
    }

    /// QEMU learns of a cut that only the source has seen.
    private func pause(_ process: GuestProcess) async throws {
        // An agent that has just come has seen no event.
        if streamStatus == nil { streamStatus = try await process.monitor.queryMigrate(deadline: .seconds(5)).status }
        let deadline = ContinuousClock.now.advanced(by: .seconds(3))
        while true {
            switch streamStatus {
            case "postcopy-paused": return
            case "postcopy-active":
                do { try await process.rescue.migratePause(outOfBand: true) } catch let error as QMPError where error.code == .command {}
            case let other:
                throw AgentProblem(.conflict, .invalidRequest, "QEMU's migration is in \(other ?? "no state"), and cannot be joined anew")
            }
            guard ContinuousClock.now < deadline else { throw AgentProblem(.failed, .qemuError, "QEMU does not notice the cut") }
            try await Task.sleep(for: .milliseconds(10))
        }
    }
}
