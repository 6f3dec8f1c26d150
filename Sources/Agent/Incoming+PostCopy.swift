import AgentAPI
import Fleet
import Foundation
import Hypervisor
import Logging
import QMP

/// Post-copy at the target: the guest runs here and fetches what it lacks from the source.
extension Incoming {
    /// Whether the guest can run here and, by post-copy, nowhere else any more.
    func holdsOnlyCopy() async -> Bool {
        guard let record, record.phase == .prepared || record.phase == .received, record.streams?.isPostCopyAllowed == true,
            let sight = try? await look(record)
        else { return false }
        return sight.isAlive && (sight.memory == .postCopy || sight.memory == .interrupted)
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

    /// Takes a new connection for each stream that broke, for as long as memory is missing.
    func takeRejoining(_ listener: StreamSocket, _ process: GuestProcess) async {
        var count = 0
        while !Task.isCancelled, process.isAlive {
            do {
                let socket = try await listener.accept()
                guard try await socket.receives(StreamSocket.rejoining(key), within: .seconds(2)) else {
                    logger.warning("a connection to the memory port does not belong to this migration")
                    continue
                }
                count += 1
                try await rejoin(socket, process.monitor, name: "again-\(fingerprint(key.migration.value).prefix(8))-\(count)")
            } catch is CancellationError {
                return
            } catch {
                logger.warning("the stream of post-copy cannot be joined", metadata: ["problem": "\(error)"])
                do { try await Task.sleep(for: .milliseconds(50)) } catch { return }
            }
        }
    }

    /// QEMU has the connection before the source's is told to use it, and uses it only once the source has begun to: when a connection breaks
    /// between, QEMU 7.2 crashes.
    private func rejoin(_ socket: StreamSocket, _ monitor: QMPClient, name: String) async throws {
        try await pause(monitor)
        socket.hold()
        do { try await monitor.closeDescriptor(name) } catch let error as QMPError where error.code == .command {}
        try await monitor.sendDescriptor(socket.descriptor, name: name)
        do {
            try await socket.send(StreamSocket.joined)
            guard try await socket.hasWord(within: .seconds(60)) else {
                throw AgentProblem(.failed, .connectionLost, "the source does not take the stream up")
            }
            try await monitor.migrateRecover(uri: "fd:" + name)
        } catch {
            do { try await monitor.closeDescriptor(name) } catch let error as QMPError where error.code == .command {}
            throw error
        }
        // A TLS handshake comes before QEMU's state moves.
        let begin = ContinuousClock.now
        loop: while true {
            switch try await monitor.queryMigrate().status {
            case "postcopy-recover" where begin.duration(to: .now) < .seconds(60): break
            case "postcopy-paused" where begin.duration(to: .now) < .seconds(10): break
            default: break loop
            }
            try await Task.sleep(for: .milliseconds(20))
        }
        socket.release()
    }

    /// QEMU learns of a cut that only the source has seen.
    private func pause(_ monitor: QMPClient) async throws {
        let deadline = ContinuousClock.now.advanced(by: .seconds(3))
        while true {
            switch try await monitor.queryMigrate().status {
            case "postcopy-paused": return
            case "postcopy-active":
                do { try await monitor.migratePause() } catch let error as QMPError where error.code == .command {}
            case let other:
                throw AgentProblem(.conflict, .invalidRequest, "QEMU's migration is in \(other ?? "no state"), and cannot be joined anew")
            }
            guard ContinuousClock.now < deadline else { throw AgentProblem(.failed, .qemuError, "QEMU does not notice the cut") }
            try await Task.sleep(for: .milliseconds(10))
        }
    }
}
