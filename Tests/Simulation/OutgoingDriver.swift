import AgentAPI
import Attempts
import Fleet

/// The source's end of a live attempt (`Agent.Outgoing`): looks, asks ``OutgoingMachine``, does that one thing, and looks again.
final class OutgoingDriver: @unchecked Sendable {
    // Belongs to the world's thread.

    let key: AttemptKey
    let server: ServerID
    private unowned let agent: SimulatedAgent
    private let host: SimulatedHost
    private(set) var shown: OutgoingReport
    private var isStopped = false
    private var isInherited: Bool
    private var hasContinued = false
    private var windowOpened: Int64?
    private var deviceSince: Int64?
    private var draining: Set<String> = []
    private var isDelivering = false
    private var tries = 0
    private var troubles = 0
    private var wakeAt: Int64?
    private var wakes = 0

    private var world: World { host.world }
    private var disks: [String] { world.server(server).isShared ? [] : ["disk0"] }

    init(_ record: OutgoingRecord, _ server: ServerID, _ agent: SimulatedAgent, isInherited: Bool) {
        key = record.key
        self.server = server
        self.agent = agent
        host = agent.host
        self.isInherited = isInherited
        shown = OutgoingReport(
            epoch: record.epoch, key: record.key, phase: record.phase, version: 0, progress: record.progress, reason: record.reason,
            blackout: record.blackout, events: record.events)
        shown.version = world.version()
    }

    func stop() { isStopped = true }

    func wake(after delay: Int64) {
        guard !isStopped, !agent.isDead else { return }
        let at = world.loop.now + delay
        if let wakeAt, wakeAt <= at { return }
        wakeAt = at
        wakes += 1
        let number = wakes
        world.loop.after(delay) { [weak self] in
            guard let self, number == self.wakes else { return }
            self.wakeAt = nil
            self.turn()
        }
    }

    private var record: OutgoingRecord? {
        guard let outgoing = agent.record(server).outgoing, outgoing.key == key else { return nil }
        return outgoing
    }

    private func change(_ body: (inout OutgoingRecord) -> Void) throws {
        try agent.change(server) { record in
            guard var outgoing = record.outgoing, outgoing.key == key, !outgoing.isOver else { throw CancellationError() }
            body(&outgoing)
            record.outgoing = outgoing
        }
    }

    private func show(_ phase: OutgoingReport.Phase, _ body: (inout OutgoingReport) -> Void = { _ in }) {
        if phase == .switching, shown.phase != .memory { return }
        if shown.phase != phase { world.tell("\(host.name) shows \(phase.rawValue) of \(world.name(key))") }
        shown.phase = phase
        shown.progress = progress
        body(&shown)
        shown.version = world.version()
        agent.changed(server)
    }

    private var progress: Fleet.Progress {
        guard let machine = host.machine(server) else { return shown.progress }
        var progress = Fleet.Progress()
        progress.diskTotal = disks.isEmpty ? 0 : world.server(server).diskBytes
        progress.diskDone = disks.reduce(0) { $0 + machine.mirrored[$1, default: 0] }
        progress.memoryTotal = machine.memorySent > 0 ? world.server(server).memoryBytes : 0
        progress.memoryTransferred = machine.memorySent
        progress.memoryRemaining = max(0, progress.memoryTotal - progress.memoryTransferred)
        progress.rate = 100_000_000
        return progress
    }

    // MARK: the loop

    private func look(_ record: OutgoingRecord) -> OutgoingMachine.Sight {
        var sight = OutgoingMachine.Sight(isAlive: false, isRunning: false, memory: .none, mirrors: [:], isInherited: isInherited)
        guard record.phase != .handedOver, !record.isOver, let machine = host.machine(server) else { return sight }
        sight.isAlive = true
        sight.memory = machine.memory
        if record.unwinding != nil { sight.isRunning = machine.isRunning }
        for disk in disks { sight.mirrors[disk] = machine.mirrors[disk] ?? .absent }
        let now = world.loop.now
        deviceSince = sight.memory == .device ? deviceSince ?? now : nil
        sight.device = deviceSince.map { .microseconds(now - $0) }
        if sight.memory == .preSwitchover {
            let opened = windowOpened ?? now
            windowOpened = opened
            sight.window = .microseconds(now - opened)
            show(.switching)
        } else {
            windowOpened = nil
        }
        return sight
    }

    private func turn() {
        guard !isStopped, !agent.isDead, let record else { return }
        do {
            var sight = look(record)
            if world.mutation == .openWindow { (sight.window, sight.isInherited) = (.zero, false) }
            var step = OutgoingMachine.next(record, sight)
            if world.mutation == .undrainedDisks, case .drain(let disks) = step {
                // The mirrors are cut off as they are.
                for disk in disks { host.machine(server)?.mirrors[disk] = nil }
                step = .wait
            }
            if sight.memory != .preSwitchover { isInherited = false }
            try take(step, record)
            troubles = 0
        } catch is CancellationError {
            return
        } catch is SimulatedAgent.Died {
            return
        } catch {
            overcome(error, record)
        }
    }

    private func overcome(_ error: any Error, _ record: OutgoingRecord) {
        troubles += 1
        wake(after: min(1_000_000, 20_000 << Int64(min(troubles, 6))))
        guard host.machine(server) != nil, record.phase != .handedOver, record.unwinding == nil else { return }
        let reason = (error as? AgentProblem)?.reason ?? Reason(.qemuError, "\(error)")
        // What cannot be written now is tried again by the next turn.
        try? change { if $0.unwinding == nil { $0.unwinding = .init(phase: .failed, reason: reason) } }
    }

    private func take(_ step: OutgoingMachine.Step, _ record: OutgoingRecord) throws {
        var pause: Int64 = world.dice.within(100...3000)
        let machine = host.machine(server)
        switch step {
        case .done: return
        case .wait:
            if progress != shown.progress { show(shown.phase) }
            pause = 400_000
        case .startMirrors(let disks): for disk in disks { try startMirror(disk, record) }
        case .noteMirrored:
            try change { $0.phase = .mirrored }
            show(.mirrored)
        case .startMemory: try startMemory(record)
        case .noteMemory:
            try change { $0.phase = .memory }
            show(.memory)
        case .drain(let disks):
            show(.switching)
            for disk in disks where draining.insert(disk).inserted { machine?.drain(disk) }
            pause = 20_000
        case .clear(let disks): for disk in disks { machine?.mirrors[disk] = nil }
        case .proceed:
            show(.switching)
            guard self.record?.unwinding == nil else { break }
            pause = 20_000
            guard !hasContinued else { break }
            try agent.crashPoint()
            machine?.proceed()
            hasContinued = true
        case .handOver: try handOver()
        case .deliver:
            deliver(record)
            return
        case .turnBack(let unwinding):
            world.tell("\(host.name) turns \(world.name(key)) back: \(unwinding.reason.map { "\($0)" } ?? "")")
            try change { if $0.unwinding == nil { $0.unwinding = unwinding } }
        case .tearMemory:
            machine?.tearMemory()
            pause = 100_000
        case .cancelMemory:
            try agent.crashPoint()
            machine?.cancelMemory()
            pause = 20_000
        case .removeMirrors:
            machine?.removeMirrors()
            pause = 10_000
        case .resume:
            try agent.crashPoint()
            world.tell("\(host.name) has the guest of \(server) go on")
            machine?.memory = .cancelled
            machine?.run()
            pause = 10_000
        case .finish(let phase, let reason):
            try change {
                $0.phase = phase
                $0.reason = reason
                $0.unwinding = nil
                $0.progress = progress
            }
            show(phase) { $0.reason = reason }
            return
        case .startPostCopy, .beginPostCopy, .askTarget, .rejoin, .endPostCopy, .endGuest:
            world.checker.fail("model", "post-copy was never allowed, and the source's machine says \(step)")
        }
        wake(after: pause)
    }

    /// The target's QEMU that waits for this attempt, over the network.
    private func peer(_ record: OutgoingRecord) throws -> Machine {
        guard let leave = world.hosts.first(where: { $0.name == record.target.address }), world.canReach(host.name, leave.name),
            world.canReach(leave.name, host.name), leave.isOn
        else { throw AgentProblem(.failed, .connectionLost, "the target cannot be reached") }
        guard let machine = leave.machine(server), machine.isIncoming, leave.agent?.record(server).incoming?.key == key else {
            throw AgentProblem(.failed, .connectionLost, "nobody listens on the target")
        }
        return machine
    }

    private func startMirror(_ disk: String, _ record: OutgoingRecord) throws {
        let peer = try peer(record)
        guard peer.hasExports else { throw AgentProblem(.failed, .connectionLost, "the target's disk \(disk) cannot be opened") }
        try agent.crashPoint()
        host.machine(server)?.startMirror(disk, to: peer)
    }

    private func startMemory(_ record: OutgoingRecord) throws {
        let peer = try peer(record)
        guard peer.received == .none, let machine = host.machine(server) else {
            throw AgentProblem(.failed, .connectionLost, "the target takes no memory")
        }
        try agent.crashPoint()
        machine.startMemory(to: peer)
        try agent.crashPoint()
        try change { $0.phase = .memory }
        show(.memory)
    }

    private func handOver() throws {
        let (progress, events) = (progress, shown.events)
        guard world.mutation != .unwrittenHandover else {
            // Only shown and told, and not written down: the target is asked under a record that says nothing of it.
            show(.handedOver)
            if var record {
                record.phase = .handedOver
                deliver(record)
            }
            return
        }
        try agent.change(server) {
            $0.handOver(key, isPostCopy: false, timeline: SwitchTimeline(), progress: progress, events: events)
        }
        guard self.record?.phase == .handedOver else { return }
        show(.handedOver)
    }

    private func deliver(_ record: OutgoingRecord) {
        guard let leave = record.leave, !isDelivering else { return wake(after: 1_000_000) }
        isDelivering = true
        let order = HandoverOrder(epoch: record.epoch, key: key, source: host.name, isPaused: record.isPaused)
        let link = world.link(from: agent, to: leave.targetAgentURL)
        world.loop.spawn { [self] in
            do {
                let answer = try await link.handOver(server, order)
                isDelivering = false
                guard !isStopped, !agent.isDead else { return }
                guard answer.phase == .running, answer.resumeUS != nil || answer.isPaused == true || answer.reason != nil else {
                    throw AgentProblem(.conflict, .agentError, "the target answered the handover with phase \(answer.phase.rawValue)")
                }
                try change {
                    guard $0.phase == .handedOver || world.mutation == .unwrittenHandover else { return }
                    $0.phase = .confirmed
                    $0.reason = nil
                }
                guard self.record?.phase == .confirmed else { return wake(after: 1000) }
                show(.confirmed) { $0.reason = nil }
                if world.mutation == .earlyCleanup { agent.removeFiles(server) }
            } catch let problem as AgentProblem {
                isDelivering = false
                guard !isStopped, !agent.isDead else { return }
                tries += 1
                if shown.reason != problem.reason { show(.handedOver) { $0.reason = problem.reason } }
                wake(after: min(2_000_000, 20_000 << Int64(min(tries, 7))))
            } catch {
                isDelivering = false
            }
        }
    }
}
