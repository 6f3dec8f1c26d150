import AgentAPI
import Attempts
import Fleet
import Foundation
import Hypervisor
import Logging
import QMP

/// Post-copy: the target runs the guest before all of its memory is there. Once begun QEMU 7.2 runs the guest nowhere but there.
extension Outgoing {
    /// QEMU shows its state before it has sent what the target needs to run, and takes the guest back by itself when that fails. What the
    /// target says is the proof that it has not failed: nothing is written between, and nobody tears that connection.
    func askTarget(_ record: OutgoingRecord) async throws -> Turn {
        guard let leave = record.leave else { return .pause(.seconds(1)) }
        do {
            let report = try await host.peers.agent(at: leave.targetAgentURL).incoming(server, key, seen: 0, waitMS: 0)
            switch report.phase {
            case .received, .owned, .running: hasArrived = true
            case .failed, .refused: isTargetLost = true
            case .prepared: return .pause(.milliseconds(2))
            }
            return .again
        } catch let problem as AgentProblem {
            if problem.kind == .notFound { isTargetLost = true }
            if watched.value.reason != problem.reason {
                logger.warning("the target does not say whether it could run the guest", metadata: ["problem": .stringConvertible(problem)])
                show(.switching) { $0.reason = problem.reason }
            }
            return .pause(.milliseconds(100))
        }
    }

    /// Joins the two ends by a new connection, which both QEMUs have before either uses it: QEMU 7.2 does not outlive a break in between.
    func rejoin(_ record: OutgoingRecord, _ monitor: QMPClient) async throws -> Turn {
        guard let leave = record.leave else { return .pause(.seconds(1)) }
        if watched.value.postCopy != .interrupted {
            tell(PolicyEvent(.postCopy, "The stream of post-copy broke; the agents join it anew."))
            watched.change { $0.postCopy = .interrupted }
        }
        do {
            if try await isLost(at: leave.targetAgentURL) {
                isTargetLost = true
                return .again
            }
            let name = "again-" + memoryName
            try await forgetDescriptor(name, monitor)
            let socket = try await StreamSocket.connect(record.target.address, port: record.target.memoryPort, deadline: .seconds(3))
            socket.hold()
            try await socket.send(StreamSocket.rejoining(key))
            try await monitor.sendDescriptor(socket.descriptor, name: name)
            guard try await socket.receives(StreamSocket.joined, within: .seconds(10)) else {
                try await forgetDescriptor(name, monitor)
                throw AgentProblem(.failed, .connectionLost, "the target does not take the stream again yet")
            }
            try await monitor.migrate(uri: "fd:" + name, resume: true)
            sockets = [socket]
            // A TLS handshake comes before QEMU's state moves; another connection meanwhile would spoil both.
            let deadline = ContinuousClock.now.advanced(by: .seconds(10))
            while try await monitor.queryMigrate().status == "postcopy-paused", ContinuousClock.now < deadline {
                try await Task.sleep(for: .milliseconds(20))
            }
            return .again
        } catch let problem as AgentProblem {
            logger.info("post-copy is not joined yet", metadata: ["problem": .stringConvertible(problem)])
            if watched.value.reason != problem.reason { show(.confirmed) { $0.reason = problem.reason } }
            return .pause(.milliseconds(500))
        }
    }

    /// What post-copy sends unasked keeps to the whole bandwidth; what the target asks for comes before and is not held back.
    func applyPostCopyBandwidth(_ record: OutgoingRecord) async throws {
        let bandwidth = record.bandwidth ?? 0
        guard bandwidth != postCopyBandwidth else { return }
        try await process?.monitor.migrateSetParameters(["max-postcopy-bandwidth": JSONValue(bandwidth)])
        postCopyBandwidth = bandwidth
    }

    /// Whether the target's agent says so; one that does not answer says nothing.
    private func isLost(at url: String) async throws -> Bool {
        do {
            return try await host.peers.agent(at: url).incoming(server, key, seen: 0, waitMS: 0).postCopy == .lost
        } catch let problem as AgentProblem where problem.kind == .unreachable {
            return false
        }
    }

    /// What is shown of it while it goes on.
    func showFetching(_ memory: OutgoingMachine.Memory) {
        guard memory == .postCopy else { return }
        if watched.value.postCopy == .interrupted { tell(PolicyEvent(.postCopy, "The stream of post-copy is joined again.")) }
        for socket in sockets { socket.release() }
        // While ours are open the peer would not learn that QEMU died.
        sockets = []
        guard watched.value.postCopy != .fetching || watched.value.reason != nil else { return }
        watched.change {
            $0.postCopy = .fetching
            $0.reason = nil
            $0.version = max($0.version + 1, Timestamp.microseconds)
        }
    }

    func endPostCopy(_ mark: OutgoingRecord.PostCopyMark) async throws {
        let lost = Reason(.guestStopped, "QEMU ended before all of the guest's memory was sent by post-copy: the rest is gone")
        let (progress, outcome): (Fleet.Progress, PostCopy) = (latest, mark == .complete ? .complete : .lost)
        tell(
            mark == .complete
                ? PolicyEvent(.postCopy, "All memory is at the target.") : PolicyEvent(lost.code, lost.message))
        let all = events
        try await change {
            $0.postCopy = mark
            $0.progress = progress
            $0.events = all
            $0.reason = mark == .complete ? nil : lost
        }
        show(.confirmed) {
            $0.postCopy = outcome
            $0.reason = mark == .complete ? nil : lost
        }
        sockets = []
    }

    /// Ends a QEMU that can neither run the guest nor let go of it. The target has refused or lost it.
    func endGuest(_ reason: Reason) async throws {
        try await process?.end()
        try await change {
            $0.phase = .failed
            $0.reason = reason
            $0.unwinding = nil
        }
        show(.failed) { $0.reason = reason }
        sockets = []
    }
}

extension PostCopy {
    /// What a report says of an attempt on the disk.
    init?(_ mark: OutgoingRecord.PostCopyMark?) {
        switch mark {
        case nil, .asked: return nil
        case .begun: self = .fetching
        case .complete: self = .complete
        case .lost: self = .lost
        }
    }
}
