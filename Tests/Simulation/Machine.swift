import AgentAPI
import Attempts
import Fleet

/// A QEMU of a server on one host, as far as migrations can tell: it outlives the agent and ends with the host.
///
/// What its guest does is one number, its life, that grows while the vCPUs execute: whoever runs from a smaller one than was reached before
/// has lost something.
final class Machine: @unchecked Sendable {
    // Belongs to the world's thread.

    let number: Int
    let server: ServerID
    unowned let host: SimulatedHost
    var isAlive = true
    private(set) var isRunning = false
    private var since: Int64 = 0
    private var reached: Int64

    /// As a source.
    var memory = OutgoingMachine.Memory.none
    var mirrors: [String: OutgoingMachine.Mirror] = [:]
    var mirrored: [String: Int64] = [:]
    var memorySent: Int64 = 0
    /// Whom its streams go to. Another one for each attempt.
    var peer: Machine?
    /// Counts what was begun or torn, so that what was on its way before finds that it is over.
    var mirrorRound = 0
    var memoryRound = 0
    /// What the last pass takes the vCPUs from.
    var ranBefore = false

    /// As a target: waits for its state.
    var isIncoming = false
    var received = IncomingMachine.Memory.none
    var hasExports = false

    private var world: World { host.world }

    init(number: Int, server: ServerID, host: SimulatedHost, life: Int64) {
        self.number = number
        self.server = server
        self.host = host
        reached = life
    }

    var life: Int64 { isRunning ? reached + (world.loop.now - since) : reached }

    /// The vCPUs execute from here on.
    func run() {
        guard isAlive, !isRunning else { return }
        isRunning = true
        since = world.loop.now
        world.checker.began(self)
    }

    func stop() {
        guard isRunning else { return }
        reached = life
        isRunning = false
        world.checker.stopped(self)
    }

    func end() {
        guard isAlive else { return }
        stop()
        isAlive = false
        mirrorRound += 1
        memoryRound += 1
        mirrors = [:]
        host.wake(server)
    }

    /// Takes over the state that was sent.
    func receive(life: Int64) {
        reached = life
        received = .completed
        host.wake(server)
    }

    // MARK: streams

    static let chunks: Int64 = 4
    /// A stream that a cut interrupts for longer is broken.
    static let streamPatience: Int64 = 8_000_000

    private enum Path {
        case open
        case cut
        case closed
    }

    private var path: Path {
        guard let peer, host.world.isUp(peer.host) else { return .cut }
        guard host.world.canReach(host.name, peer.host.name), host.world.canReach(peer.host.name, host.name) else { return .cut }
        return peer.isAlive ? .open : .closed
    }

    func startMirror(_ disk: String, to peer: Machine) {
        self.peer = peer
        mirrors[disk] = .copying
        mirrored[disk] = 0
        copyOn(disk, mirrorRound, cutSince: nil)
    }

    private func copyOn(_ disk: String, _ round: Int, cutSince: Int64?) {
        world.loop.after(world.dice.within(20_000...world.server(server).chunkTime)) { [self] in
            guard isAlive, round == mirrorRound, let mirror = mirrors[disk], mirror == .copying || mirror == .ready else { return }
            guard let peer, peer.hasExports || path == .cut else { return breakMirror(disk) }
            switch path {
            case .closed: return breakMirror(disk)
            case .cut:
                let since = cutSince ?? world.loop.now
                guard world.loop.now - since < Self.streamPatience else { return breakMirror(disk) }
                return copyOn(disk, round, cutSince: since)
            case .open: break
            }
            world.checker.wrote(to: peer, from: self)
            if mirror == .copying {
                let size = world.server(server).diskBytes
                let chunk = size / Self.chunks
                mirrored[disk] = min(size, mirrored[disk, default: 0] + chunk)
                world.checker.sent(chunk, of: disk, self)
                if mirrored[disk] == size { mirrors[disk] = .ready }
                host.wake(server)
            }
            copyOn(disk, round, cutSince: nil)
        }
    }

    private func breakMirror(_ disk: String) {
        mirrors[disk] = .broken(Reason(.connectionLost, "the mirror of disk \(disk) broke"))
        host.wake(server)
    }

    /// `block-job-cancel` of a mirror that is ready.
    func drain(_ disk: String) {
        let round = mirrorRound
        world.loop.after(world.dice.within(500...20_000)) { [self] in
            guard isAlive, round == mirrorRound, mirrors[disk] == .ready else { return }
            switch path {
            case .open where peer?.hasExports == true:
                mirrors[disk] = .ended
                if let peer { peer.host.content[server] = life }
                host.wake(server)
            case .open, .closed: breakMirror(disk)
            case .cut:
                // Until the guest's window is over.
                drain(disk)
            }
        }
    }

    /// Tears what is left of the mirrors.
    func removeMirrors() {
        mirrorRound += 1
        mirrors = [:]
        host.wake(server)
    }

    func startMemory(to peer: Machine) {
        self.peer = peer
        memory = .moving
        memorySent = 0
        memoryRound += 1
        ranBefore = isRunning
        peer.received = .moving
        sendOn(memoryRound, cutSince: nil)
    }

    private func sendOn(_ round: Int, cutSince: Int64?) {
        world.loop.after(world.dice.within(20_000...world.server(server).chunkTime)) { [self] in
            guard isAlive, round == memoryRound, memory == .moving else { return }
            switch path {
            case .closed: return failMemory("the target closed the connection")
            case .cut:
                let since = cutSince ?? world.loop.now
                guard world.loop.now - since < Self.streamPatience else { return failMemory("the connection timed out") }
                return sendOn(round, cutSince: since)
            case .open: break
            }
            memorySent += world.server(server).memoryBytes / Self.chunks
            if memorySent >= world.server(server).memoryBytes {
                ranBefore = isRunning
                stop()
                memory = .preSwitchover
                world.tell("the guest of \(server) stands still on \(host.name) for the last pass")
                if let key = host.records[server]?.outgoing?.key { world.meet(.stoodStill, of: key, on: host) }
            } else {
                sendOn(round, cutSince: nil)
            }
            host.wake(server)
        }
    }

    private func failMemory(_ why: String) {
        memory = .failed(why)
        memoryRound += 1
        if let peer, peer.isAlive, peer.received == .moving { peer.received = .failed(why) }
        if ranBefore { run() }
        host.wake(server)
        peer?.host.wake(server)
    }

    /// `migrate-continue`: the last of the state goes, and comes back acknowledged.
    func proceed() {
        guard memory == .preSwitchover else { return }
        memory = .device
        sendState(memoryRound)
    }

    private func sendState(_ round: Int) {
        world.loop.after(world.dice.within(1000...30_000)) { [self] in
            guard isAlive, round == memoryRound, memory == .device else { return }
            switch path {
            case .closed: return failMemory("the target closed the connection")
            case .cut: return sendState(round)
            case .open: break
            }
            if let peer, peer.received == .moving { peer.receive(life: life) }
            acknowledge(round)
        }
    }

    private func acknowledge(_ round: Int) {
        world.loop.after(world.dice.within(100...5000)) { [self] in
            guard isAlive, round == memoryRound, memory == .device else { return }
            switch path {
            case .closed: return failMemory("the target closed the connection")
            case .cut: return acknowledge(round)
            case .open: memory = .completed
            }
            world.tell("QEMU of \(server) on \(host.name) has sent everything")
            host.wake(server)
        }
    }

    /// `migrate_cancel` before `migrate-continue`.
    func cancelMemory() {
        guard memory == .moving || memory == .preSwitchover else { return }
        memory = .cancelled
        memoryRound += 1
        if let peer, peer.isAlive, peer.received == .moving { peer.received = .failed("the source cancelled") }
        if ranBefore { run() }
        peer?.host.wake(server)
        host.wake(server)
    }

    /// The stream is torn while the last of the state is on its way: QEMU runs the guest again.
    func tearMemory() {
        guard memory == .device else { return }
        failMemory("the connection was torn")
    }
}
