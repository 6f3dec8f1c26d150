import AgentAPI
import Attempts
import Fleet

/// The target's end of a cold copy (`Agent.Receiver`): takes what the source lends, piece by piece, and goes on from what is on the disk.
final class CopyDriver: @unchecked Sendable {
    // Belongs to the world's thread.

    let key: AttemptKey
    let server: ServerID
    private unowned let agent: SimulatedAgent
    private let host: SimulatedHost
    private(set) var shown: IncomingReport
    private var isStopped = false
    private var cutSince: Int64?

    private var world: World { host.world }

    init(_ record: IncomingRecord, _ server: ServerID, _ agent: SimulatedAgent) {
        key = record.key
        self.server = server
        self.agent = agent
        host = agent.host
        shown = IncomingDriver.report(record, version: agent.world.version())
        shown.receipt = record.receipt?.report ?? ReceiptReport()
    }

    func stop() { isStopped = true }

    func show(_ phase: IncomingReport.Phase, reason: Reason? = nil) {
        if shown.phase != phase { world.tell("\(host.name) shows \(phase.rawValue) of \(world.name(key))") }
        shown.phase = phase
        shown.reason = reason
        shown.version = world.version()
        agent.changed(server)
    }

    func start() {
        guard shown.phase == .prepared else { return }
        world.loop.after(world.dice.within(10_000...world.server(server).chunkTime)) { [weak self] in self?.turn() }
    }

    private var record: IncomingRecord? {
        guard let incoming = agent.record(server).incoming, incoming.key == key, incoming.phase == .prepared else { return nil }
        return incoming
    }

    private func turn() {
        guard !isStopped, !agent.isDead, let record else { return }
        do {
            let server = world.server(server)
            let source = world.host(record.source)
            let lends = source?.agent?.record(server.id).loan.map { $0.key == key && $0.phase == .lent } ?? false
            guard let source, source.isOn, lends, world.canReach(host.name, source.name), world.canReach(source.name, host.name) else {
                let since = cutSince ?? world.loop.now
                cutSince = since
                guard world.loop.now - since > 10_000_000 else { return start() }
                return try fail(Reason(.connectionLost, "the source cannot be read"))
            }
            cutSince = nil
            let total = server.isShared ? 0 : server.diskBytes
            let chunk = server.diskBytes / Machine.chunks
            if host.copied[server.id, default: 0] < total {
                try agent.crashPoint()
                host.copied[server.id, default: 0] += chunk
                host.content[server.id] = -1
                world.checker.copied(chunk, key, server.id)
            }
            let done = host.copied[server.id, default: 0]
            shown.receipt?.bytesTotal = total
            shown.receipt?.bytesDone = done
            if done >= total {
                if !server.isShared { host.content[server.id] = source.content[server.id] ?? -1 }
                let report = shown.receipt
                try agent.change(server.id) { record in
                    guard var incoming = record.incoming, incoming.key == key, incoming.phase == .prepared else {
                        throw CancellationError()
                    }
                    incoming.phase = .received
                    incoming.receipt?.report = report
                    record.incoming = incoming
                }
                show(.received)
            } else {
                show(.prepared)
                start()
            }
        } catch {
            // It died, or the attempt is over.
        }
    }

    private func fail(_ reason: Reason) throws {
        try agent.change(server) { record in
            guard var incoming = record.incoming, incoming.key == key, incoming.phase == .prepared else { throw CancellationError() }
            incoming.phase = .failed
            incoming.reason = reason
            record.incoming = incoming
        }
        show(.failed, reason: reason)
    }
}
