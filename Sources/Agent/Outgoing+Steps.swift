import AgentAPI
import Attempts
import Convergence
import Fleet
import Foundation
import Hypervisor
import Logging
import QMP

/// The steps forward.
extension Outgoing {
    /// - Parameter seen: how QEMU's migration stood at the look that the step follows from.
    func take(_ step: OutgoingMachine.Step, _ record: OutgoingRecord, seen: OutgoingMachine.Memory) async throws -> Turn {
        switch step {
        case .done: return .done
        case .deliver: return try await deliver(record)
        case .finish(let phase, let reason):
            try await finish(phase, reason)
            return .done
        default: break
        }
        guard let process else { return .pause(.seconds(1)) }
        let monitor = process.monitor
        switch step {
        case .wait:
            if record.phase == .confirmed { showFetching(seen) }
            return .pause(.milliseconds(100))
        case .startMirrors(let disks):
            for disk in disks { try await startMirror(disk, record, process) }
        case .noteMirrored:
            try await change { $0.phase = .mirrored }
            show(.mirrored)
        case .startMemory: try await startMemory(record, process)
        case .noteMemory:
            try await change { $0.phase = .memory }
            show(.memory)
        case .startPostCopy:
            try await applyPostCopyBandwidth(record)
            try await monitor.migrateStartPostCopy()
            isPostCopyOrdered = true
            verdict = nil
            return .pause(.milliseconds(20))
        case .drain(let disks):
            show(.switching)
            for socket in sockets { socket.setTimeout(StreamSocket.switchTimeout) }
            let fresh = disks.filter { !draining.contains($0) }
            guard !fresh.isEmpty else { return .pause(.milliseconds(20)) }
            for disk in fresh {
                if record.bandwidth != nil { try await monitor.blockJobSetSpeed(jobID(disk), speed: 0, deadline: OutgoingMachine.window) }
                try await monitor.blockJobCancel(jobID(disk), deadline: OutgoingMachine.window)
                draining.insert(disk)
            }
        case .clear(let disks):
            for disk in disks { try await removeMirror(disk, monitor) }
        case .beginPostCopy:
            try await change { if $0.unwinding == nil { $0.postCopy = .begun } }
        case .askTarget:
            show(.switching)
            return try await askTarget(record)
        case .rejoin: return try await rejoin(record, monitor)
        case .endPostCopy(let mark): try await endPostCopy(mark)
        case .endGuest(let reason): try await endGuest(reason)
        case .proceed:
            show(.switching)
            guard self.record?.unwinding == nil else { return .again }
            // QEMU shows pre-switchover until its migration's thread has woken up; told twice it would not stop in the next one.
            guard !hasContinued else { return .pause(.milliseconds(20)) }
            timeline.continued = Timestamp.microseconds
            try await monitor.migrateContinue()
            hasContinued = true
            return .pause(.milliseconds(20))
        case .handOver: try await handOver(isPostCopy: hasArrived)
        case .turnBack(let unwinding): try await turnBack(unwinding)
        case .tearMemory:
            logger.warning("the last of the guest's state does not get through: its stream is torn")
            await yank(memory: true)
            return .pause(.milliseconds(100))
        case .cancelMemory:
            // Parallel streams never end when they are cancelled while the target hangs; torn, they do.
            let isParallel = record.streams?.channels != nil
            await yank(memory: isParallel)
            if isParallel, try await monitor.queryMigrate().status != "pre-switchover" { return .pause(.milliseconds(20)) }
            try await monitor.migrateCancel()
            return .pause(.milliseconds(20))
        case .removeMirrors:
            try await removeMirrors(monitor)
            return .pause(.milliseconds(10))
        case .resume:
            try await monitor.cont()
            return .pause(.milliseconds(10))
        case .done, .deliver, .finish: break
        }
        return .again
    }

    func change(_ body: @escaping @Sendable (inout OutgoingRecord) -> Void) async throws {
        let key = key
        try await ledger.change { record in
            guard var outgoing = record.outgoing, outgoing.key == key, !outgoing.isOver else { throw CancellationError() }
            body(&outgoing)
            record.outgoing = outgoing
        }
    }

    func startMirror(_ disk: String, _ record: OutgoingRecord, _ process: GuestProcess) async throws {
        let monitor = process.monitor
        if attached.contains(disk) {
            try await monitor.blockdevDel(node(disk))
            attached.remove(disk)
        }
        try await ensureCredentials(record, monitor)
        let socket = try await StreamSocket.connect(record.target.address, port: record.target.nbdPort, deadline: .seconds(5))
        try await monitor.sendDescriptor(socket.descriptor, name: node(disk))
        do {
            let nbd: [String: JSONValue] = [
                "driver": "nbd", "node-name": .string(node(disk)), "server": ["type": "fd", "str": .string(node(disk))],
                "export": .string(disk),
                "reconnect-delay": 0, "detect-zeroes": "unmap", "discard": "unmap",
            ]
            try await monitor.blockdevAdd(.object(nbd.merging(blockTLS(record)) { first, _ in first }))
        } catch let error as QMPError {
            try await forgetDescriptor(node(disk), monitor)
            if record.streams?.isEncrypted == true, StreamCredentials.isRefusalAtFirst("\(error)") {
                throw AgentProblem(.failed, tlsRefusal(of: disk, record, error))
            }
            throw AgentProblem(.failed, .connectionLost, "the target's disk \(disk) cannot be opened: \(error)")
        }
        attached.insert(disk)
        sockets.append(socket)
        // Top: the target's image is new and empty, made by its agent for this attempt. The ended job stays, with its error, until it was seen.
        // An even part of the bandwidth to begin with; the next look divides it by need.
        let part = record.bandwidth.map { Int(max(1, $0 / Int64(disks.count))) }
        try await monitor.blockdevMirror(
            jobID: jobID(disk), device: disk, target: node(disk), sync: .top, speed: part, autoDismiss: false)
    }

    /// A descriptor that no command took is closed; that there is none is as good.
    func forgetDescriptor(_ name: String, _ monitor: QMPClient) async throws {
        do { try await monitor.closeDescriptor(name) } catch let error as QMPError where error.code == .command {}
    }

    /// What this migration needs of QEMU and what it must be without: an earlier one may have left it switched on.
    static func capabilities(_ rules: ConvergenceRules) -> [String: Bool] {
        [
            "events": true, "pause-before-switchover": true, "return-path": true, "late-block-activate": true,
            "auto-converge": rules.autoConverge, "postcopy-ram": rules.postCopy,
        ]
    }

    func startMemory(_ record: OutgoingRecord, _ process: GuestProcess) async throws {
        guard let leave = record.leave else { return }
        let monitor = process.monitor
        let known = try await monitor.migrateCapabilityNames()
        guard known.contains("pause-before-switchover"), known.contains("late-block-activate") else {
            throw AgentProblem(
                .failed, .incompatibleQEMU,
                "QEMU \(monitor.version) cannot pause before the switchover: a newer one is needed for live migration")
        }
        if record.isPaused == true, try await monitor.queryStatus().status == "postmigrate" {
            // So an earlier migration left it that was called off in its last pass, and QEMU takes no guest away like that. Only running ends it.
            try await monitor.cont()
            try await monitor.stop()
        }
        try await ledger.layOutSlot()
        var capabilities = Self.capabilities(leave.rules)
        capabilities["multifd"] = record.streams?.channels != nil
        capabilities["postcopy-ram"] = record.streams?.isPostCopyAllowed == true
        try await monitor.migrateSetCapabilities(capabilities.filter { known.contains($0.key) })
        try await ensureCredentials(record, monitor)
        let policy = ConvergencePolicy(leave.rules)
        self.policy = policy
        let throttle = ConvergencePolicy.throttleSteps(leave.rules)
        let parameters: [String: JSONValue] = [
            "downtime-limit": JSONValue(policy.limit), "cpu-throttle-initial": JSONValue(throttle.initial),
            "cpu-throttle-increment": JSONValue(throttle.increment),
        ]
        try await monitor.migrateSetParameters(.object(parameters.merging(memoryParameters(record)) { first, _ in first }))
        try await applyBandwidth(record, isSendingMemory: true)
        if record.streams?.channels != nil {
            try await migrateByChannels(record, monitor)
        } else {
            try await migrateByDescriptor(record, monitor)
        }
        // Now what QEMU says is about this attempt, also when it failed before the next look.
        try await change { $0.phase = .memory }
        show(.memory)
        tell(policy.opening)
        try await keep(policy)
    }

    private func migrateByDescriptor(_ record: OutgoingRecord, _ monitor: QMPClient) async throws {
        let socket = try await StreamSocket.connect(record.target.address, port: record.target.memoryPort, deadline: .seconds(5))
        try await socket.send(StreamSocket.preamble(key))
        try await monitor.sendDescriptor(socket.descriptor, name: memoryName)
        sockets.append(socket)
        do {
            try await monitor.migrate(uri: "fd:" + memoryName)
        } catch {
            try await forgetDescriptor(memoryName, monitor)
            throw error
        }
    }

    func handOver(isPostCopy: Bool) async throws {
        if timeline.completed == nil { timeline.completed = Timestamp.microseconds }
        let (timeline, progress, events) = (timeline, latest, events)
        let key = key
        try await ledger.change(isUrgent: true) {
            $0.handOver(key, isPostCopy: isPostCopy, timeline: timeline, progress: progress, events: events)
        }
        guard self.record?.phase == .handedOver else { return }
        show(.handedOver) { if isPostCopy { $0.postCopy = .fetching } }
        for socket in sockets { socket.setTimeout(StreamSocket.bulkTimeout) }
        sockets = []
    }

    func deliver(_ record: OutgoingRecord) async throws -> Turn {
        guard let leave = record.leave else { return .pause(.seconds(60)) }
        if ContinuousClock.now < delivery.notBefore { return .pause(delivery.notBefore - .now) }
        do {
            let answer = try await host.peers.agent(at: leave.targetAgentURL).handOver(
                server, HandoverOrder(epoch: record.epoch, key: key, source: host.configuration.name, isPaused: record.isPaused))
            // A guest that ended before it ran is the target's as well.
            guard answer.phase == .running, answer.resumeUS != nil || answer.isPaused == true || answer.reason != nil else {
                throw AgentProblem(.conflict, .agentError, "the target answered the handover with phase \(answer.phase.rawValue)")
            }
            // A guest that stood still all the time has none.
            let blackout = answer.resumeUS.flatMap { record.timeline.blackout(answered: Timestamp.microseconds, resumeUS: $0) }
            try await change {
                guard $0.phase == .handedOver else { return }
                $0.phase = .confirmed
                $0.blackout = blackout
                $0.reason = nil
            }
            guard self.record?.phase == .confirmed else { return .again }
            show(.confirmed) {
                $0.blackout = blackout
                $0.reason = nil
            }
            return self.record?.isOver == false ? .again : .done
        } catch let problem as AgentProblem {
            delivery.tries += 1
            delivery.notBefore = .now.advanced(by: .milliseconds(min(2000, 20 << min(delivery.tries, 7))))
            if watched.value.reason != problem.reason {
                logger.warning("the handover is not taken", metadata: ["problem": .stringConvertible(problem)])
                show(.handedOver) { $0.reason = problem.reason }
            }
            return .again
        }
    }

    /// While memory flows the connection to the target's agent is used now and then: in the blackout there is no time for a handshake.
    func keepWarm() async {
        while !Task.isCancelled {
            let rings = bell.rings
            if let record, record.phase == .memory, let leave = record.leave, record.unwinding == nil {
                do {
                    _ = try await host.peers.agent(at: leave.targetAgentURL).incoming(server, key, seen: 0, waitMS: 0)
                } catch is CancellationError {
                    return
                } catch {
                    logger.info("the target's agent does not answer", metadata: ["problem": "\(error)"])
                }
                do { try await Task.sleep(for: .seconds(5)) } catch { return }
            } else {
                await bell.wait(after: rings, until: .now.advanced(by: .seconds(60)))
            }
        }
    }
}
