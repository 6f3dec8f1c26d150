import AgentAPI
import Attempts
import Fleet

/// The target's end of a live attempt (`Agent.Incoming`).
final class IncomingDriver: @unchecked Sendable {
    // Belongs to the world's thread.

    let key: AttemptKey
    let server: ServerID
    private unowned let agent: SimulatedAgent
    private let host: SimulatedHost
    private(set) var shown: IncomingReport
    private var isStopped = false
    private var isTaking = false
    private var wakeAt: Int64?
    private var wakes = 0

    private var world: World { host.world }

    init(_ record: IncomingRecord, _ server: ServerID, _ agent: SimulatedAgent) {
        key = record.key
        self.server = server
        self.agent = agent
        host = agent.host
        shown = Self.report(record, version: agent.world.version())
    }

    static func report(_ record: IncomingRecord, version: Int64) -> IncomingReport {
        let isOver = record.phase == .refused || record.phase == .failed
        return IncomingReport(
            epoch: record.epoch, key: record.key, phase: record.phase, version: version, endpoints: isOver ? nil : record.endpoints,
            reason: record.reason, ownershipUS: record.ownershipUS, resumeUS: record.resumeUS, isPaused: record.isPaused)
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

    private var record: IncomingRecord? {
        guard let incoming = agent.record(server).incoming, incoming.key == key else { return nil }
        return incoming
    }

    private func show(_ phase: IncomingReport.Phase, _ body: (inout IncomingReport) -> Void = { _ in }) {
        if shown.phase != phase { world.tell("\(host.name) shows \(phase.rawValue) of \(world.name(key))") }
        shown.phase = phase
        if phase == .refused || phase == .failed { shown.endpoints = nil }
        body(&shown)
        shown.version = world.version()
        agent.changed(server)
    }

    private func change(_ body: (inout IncomingRecord) -> Void) throws {
        try agent.change(server) { record in
            guard var incoming = record.incoming, incoming.key == key else { throw CancellationError() }
            body(&incoming)
            record.incoming = incoming
        }
    }

    private var sight: IncomingMachine.Sight {
        guard let machine = host.machine(server) else { return .init(isAlive: false, isRunning: false, memory: .none) }
        return .init(isAlive: true, isRunning: machine.isRunning, memory: machine.received)
    }

    private func turn() {
        guard !isStopped, !agent.isDead, !isTaking, let record else { return }
        do {
            switch IncomingMachine.next(record, shown: shown.phase, sight) {
            case .done: return
            case .wait: break
            case .noteReceived:
                host.machine(server)?.hasExports = false
                if shown.phase == .prepared { show(.received) }
                if world.mutation == .ranWithoutHandover { host.machine(server)?.run() }
            case .run: try resume()
            case .leavePaused, .noteRunning: try noteRunning()
            case .noteEnded(let reason): try noteEnded(reason)
            case .notePostCopy: world.checker.fail("model", "post-copy was never allowed, and the target's machine knows of one")
            case .fail(let reason):
                try change {
                    guard $0.phase == .prepared || $0.phase == .received else { return }
                    $0.phase = .failed
                    $0.reason = reason
                }
                guard self.record?.phase == .failed else { break }
                show(.failed) { $0.reason = reason }
                host.machine(server)?.end()
            }
            if shown.phase == .owned || record.phase == .owned { wake(after: 500_000) }
        } catch {
            // It died, or the record is another attempt's by now.
        }
    }

    private func noteEnded(_ reason: Reason) throws {
        try change {
            guard $0.phase == .owned else { return }
            $0.phase = .running
            $0.reason = reason
        }
        if record?.phase == .running { show(.running) { $0.reason = reason } }
    }

    private func noteRunning() throws {
        try change {
            if $0.phase == .owned { $0.phase = .running }
            $0.resumeUS = 1000
        }
        if shown.phase != .running { show(.running) { $0.resumeUS = 1000 } }
    }

    private func resume() throws {
        guard let machine = host.machine(server) else { throw AgentProblem(.failed, .guestStopped, "the guest's QEMU is gone") }
        machine.hasExports = false
        try agent.crashPoint()
        world.tell("\(host.name) has the guest of \(server) run")
        machine.isIncoming = false
        machine.run()
        try agent.crashPoint()
        show(.running) { $0.resumeUS = 1000 }
        world.loop.after(world.dice.within(500...20_000)) { [weak self] in
            guard let self, !self.isStopped, !self.agent.isDead else { return }
            // Whoever comes after an agent that died here finds that it runs.
            try? self.noteRunning()
        }
    }

    /// Owns the guest and runs it.
    func take(_ order: HandoverOrder) async throws -> IncomingReport {
        while isTaking { try await agent.nextChange(server, atMost: 20_000) }
        isTaking = true
        defer {
            isTaking = false
            wake(after: 1000)
        }
        if shown.phase == .prepared || shown.phase == .received { try await awaitState() }
        if world.mutation == .runningBeforeOwned {
            host.machine(server)?.hasExports = false
            host.machine(server)?.run()
            await world.loop.pause(world.dice.within(1000...500_000))
        }
        let isNew: Bool
        if world.mutation == .unwrittenOwnership {
            guard let known = record, known.phase == .prepared, !agent.record(server).refused.contains(key) else { return shown }
            isNew = true
        } else {
            isNew = try agent.change(server) { try $0.take(order, isFetching: false, ownershipUS: 1000) }
        }
        if isNew {
            show(.owned) {
                $0.ownershipUS = 1000
                $0.isPaused = order.isPaused
            }
        }
        if shown.phase == .owned {
            if host.machine(server) == nil { try noteEnded(IncomingMachine.ended) } else { try resume() }
        }
        return shown
    }

    private func awaitState() async throws {
        guard host.machine(server) != nil else { throw AgentProblem(.conflict, .targetLost, "the guest's QEMU on the target is gone") }
        let deadline = world.loop.now + 10_000_000
        while true {
            guard record != nil else { throw AgentProblem(.notFound, .invalidRequest, "the attempt is gone") }
            let sight = sight
            if sight.memory == .completed { break }
            guard sight.isAlive, world.loop.now < deadline else {
                throw AgentProblem(.conflict, .targetLost, "the guest's state is not here in full")
            }
            try await agent.nextChange(server, atMost: 20_000)
        }
        if shown.phase == .prepared { show(.received) }
    }
}
