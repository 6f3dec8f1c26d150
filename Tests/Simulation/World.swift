import AgentAPI
import AgentFakes
import Attempts
import Engine
import Fleet
import SQL
import Sharing
import Store

/// A fleet in memory: hosts with their disks, QEMUs and agents, the network between them, a store, and what goes wrong.
final class World: @unchecked Sendable {
    // Only the thread that runs the loop has to do with it: see ``Loop``.

    /// A server as the simulation knows it besides the store.
    final class KnownServer: @unchecked Sendable {
        // Belongs to the world's thread.
        let id: ServerID
        let isShared: Bool
        /// What its guest has reached at most.
        var highest: Int64 = 0
        /// A power failure or an operator ended its guest, so that it may be off whatever the store says.
        var mayBeOff = false
        /// The owner record on its shared storage.
        var owner: OwnerRecord?
        let diskBytes: Int64 = 4 << 20
        let memoryBytes: Int64 = 4 << 20
        /// The longest that a piece of a stream takes.
        let chunkTime: Int64

        init(id: ServerID, isShared: Bool, chunkTime: Int64) {
            self.id = id
            self.isShared = isShared
            self.chunkTime = chunkTime
        }
    }

    static let hostMemoryGB: Int64 = 64

    let loop: Loop
    let database: MemoryDatabase
    let mutation: Mutation?
    private(set) var faults: Faults
    let checker = Checker()
    var hosts: [SimulatedHost] = []
    private var servers: [ServerID: KnownServer] = [:]
    var machineCount = 0
    var nonce = ""
    /// Of migrations: of this world's time alone.
    let ids = OrderedIDs()
    /// Faults happen.
    private(set) var isFaulty = false
    private(set) var isStoreDown = false
    private var cuts: [String: Int] = [:]
    /// The names of the control plane's processes.
    private var processes: [String] = []
    /// What was ordered of an attempt, by host and attempt: what the network may bring once more.
    private var orders: [String: [(name: String, from: String, body: @Sendable (SimulatedAgent) async -> Void)]] = [:]
    /// Has a user ask for the end of a migration.
    var cancel: (MigrationID) -> Void = { _ in }
    private var listeners: [(process: Process, continuation: AsyncStream<Void>.Continuation)] = []
    private var isBusy = false
    private var isTelling = false
    private var lastVersion: Int64 = 0
    private var names: [MigrationID: String] = [:]
    private let keepsStory: Bool
    private(set) var story: [String] = []
    private(set) var fingerprint: UInt64 = 0xcbf2_9ce4_8422_2325

    var dice: Dice {
        get { loop.dice }
        set { loop.dice = newValue }
    }

    init(seed: UInt64, database: MemoryDatabase, mutation: Mutation?, keepsStory: Bool) {
        loop = Loop(seed: seed)
        self.database = database
        self.mutation = mutation
        self.keepsStory = keepsStory
        faults = Faults(&loop.dice)
        checker.world = self
    }

    // MARK: the story

    func tell(_ text: @autoclosure () -> String) {
        // What was drawn so far says all that led here.
        fingerprint = (fingerprint ^ loop.dice.state ^ UInt64(bitPattern: loop.now)) &* 0x100_0000_01b3
        guard keepsStory else { return }
        let milliseconds = loop.now / 1000
        let (seconds, rest) = (milliseconds / 1000, milliseconds % 1000)
        story.append("\(seconds).\(String(repeating: "0", count: 3 - String(rest).count))\(rest) \(text())")
    }

    func name(_ key: AttemptKey) -> String { "\(name(key.migration))/\(key.attempt)" }

    func name(_ migration: MigrationID) -> String {
        if let known = names[migration] { return known }
        let name = "m\(names.count + 1)"
        names[migration] = name
        return name
    }

    /// With the migrations' short names.
    func plain(_ text: String) -> String {
        guard keepsStory else { return text }
        return names.reduce(text) { $0.replacing($1.key.value, with: $1.value) }
    }

    func version() -> Int64 {
        lastVersion = max(lastVersion + 1, loop.now)
        return lastVersion
    }

    // MARK: who is there

    func host(_ name: String) -> SimulatedHost? { hosts.first { $0.name == name } }

    func server(_ id: ServerID) -> KnownServer {
        if let known = servers[id] { return known }
        let unknown = KnownServer(id: id, isShared: false, chunkTime: 100_000)
        servers[id] = unknown
        return unknown
    }

    func add(_ server: KnownServer) { servers[server.id] = server }
    var knownServers: [KnownServer] { servers.values.sorted { $0.id.value < $1.id.value } }

    func isUp(_ host: SimulatedHost) -> Bool { host.isOn }

    func link(from agent: SimulatedAgent, to url: String) -> SimulatedLink {
        SimulatedLink(
            world: self, from: agent.host.name, process: nil, caller: agent, host: host(String(url.dropFirst("https://".count))))
    }

    // MARK: the network

    func canReach(_ from: String, _ to: String) -> Bool { cuts.isEmpty || cuts["\(from)>\(to)", default: 0] == 0 }

    private func cut(_ from: String, _ to: String, for time: Int64) {
        tell("nothing gets from \(from) to \(to) any more")
        cuts["\(from)>\(to)", default: 0] += 1
        loop.after(time) { [self] in
            guard isFaulty else { return }
            tell("\(from) reaches \(to) again")
            cuts["\(from)>\(to)", default: 1] -= 1
        }
    }

    // MARK: the store

    func listen(_ process: Process, _ continuation: AsyncStream<Void>.Continuation) {
        listeners.removeAll { !$0.process.isAlive }
        listeners.append((process, continuation))
    }

    func committed(by process: Process) {
        checker.lookAtStore(after: process)
        guard !isTelling else { return }
        isTelling = true
        // Whoever listens hears of it a little later, and once of what was committed meanwhile.
        loop.after(dice.within(500...100_000)) { [self] in
            isTelling = false
            for listener in listeners where listener.process.isAlive { listener.continuation.yield() }
        }
    }

    /// One transaction at a time, as SQLite has them.
    func alone<T>(_ body: () async throws -> T) async throws -> T {
        while isBusy { await loop.pause(10) }
        isBusy = true
        defer { isBusy = false }
        return try await body()
    }

    // MARK: what goes wrong

    /// - Parameter processes: that cuts may keep from the hosts.
    func beginFaults(_ processes: [String]) {
        self.processes = processes
        isFaulty = true
        let time = faults.healAt
        func sometime(_ body: @escaping () -> Void) {
            loop.after(dice.within(0...time)) { [self] in if isFaulty { body() } }
        }
        for _ in 0..<faults.cuts {
            sometime { [self] in
                let places = hosts.map(\.name) + processes
                let (one, other) = (places[dice.below(places.count)], places[dice.below(places.count)])
                guard one != other else { return }
                let time = dice.within(200_000...20_000_000)
                cut(one, other, for: time)
                if dice.hits(6000) { cut(other, one, for: time) }
            }
        }
        for _ in 0..<faults.powerFailures {
            sometime { [self] in hosts[dice.below(hosts.count)].crash(for: dice.within(2_000_000...60_000_000)) }
        }
        for _ in 0..<faults.storeOutages {
            sometime { [self] in
                tell("the store is away")
                isStoreDown = true
                loop.after(dice.within(100_000...12_000_000)) { [self] in
                    if isStoreDown { tell("the store is back") }
                    isStoreDown = false
                }
            }
        }
        loop.after(time) { [self] in
            isFaulty = false
            isStoreDown = false
            cuts = [:]
            tell("all is healed")
        }
    }

    /// At which much hangs on what comes next.
    enum Moment {
        /// The guest stands still on the source for the last pass.
        case stoodStill
        /// The source has written that it handed over.
        case handedOver
        /// The target has written that it owns.
        case owned
        /// An attempt was called off at this end.
        case calledOff
    }

    /// What a record says anew is a moment of those.
    func meet(_ before: GuestRecord, _ after: GuestRecord, on host: SimulatedHost) {
        guard isFaulty else { return }
        if before.tenure != after.tenure, after.tenure == .handedOver, let key = after.outgoing?.key ?? after.loan?.key {
            meet(.handedOver, of: key, on: host)
        }
        if let now = after.incoming, now.phase == .owned, before.incoming?.phase != .owned { meet(.owned, of: now.key, on: host) }
        func look(_ then: [AttemptKey]?, _ now: [AttemptKey]?) {
            if let key = now?.last, now?.count ?? 0 > then?.count ?? 0 { meet(.calledOff, of: key, on: host) }
        }
        look(before.refused, after.refused)
        look(before.aborted, after.aborted)
        look(before.takenBack, after.takenBack)
    }

    func meet(_ moment: Moment, of key: AttemptKey, on host: SimulatedHost) {
        guard isFaulty, dice.hits(faults.moments) else { return }
        let others = hosts.map(\.name).filter { $0 != host.name }
        if moment == .calledOff {
            bringAgain(key, to: host)
            if dice.hits(5000) { restart(host) }
        }
        switch dice.below(6) {
        case 0:
            // Its answers get nowhere.
            let time = dice.within(1_000_000...25_000_000)
            for process in processes { cut(host.name, process, for: time) }
        case 1:
            let time = dice.within(1_000_000...25_000_000)
            for other in others {
                cut(host.name, other, for: time)
                cut(other, host.name, for: time)
            }
        case 2: restart(host)
        case 3: loop.after(dice.within(0...300_000)) { host.crash(for: self.dice.within(2_000_000...30_000_000)) }
        case 4: loop.after(dice.within(0...300_000)) { self.cancel(key.migration) }
        default: cut(processes[dice.below(processes.count)], host.name, for: dice.within(1_000_000...25_000_000))
        }
    }

    private func restart(_ host: SimulatedHost) {
        loop.after(dice.within(0...300_000)) { if host.isOn { host.crashAgent(soon: true) } }
    }

    // MARK: late orders

    func sent(
        _ name: String, of key: AttemptKey, from: String, to host: SimulatedHost, _ body: @escaping @Sendable (SimulatedAgent) async -> Void
    ) {
        guard isFaulty else { return }
        var known = orders["\(host.name) \(key.migration)/\(key.attempt)", default: []]
        guard !known.contains(where: { $0.name == name }) else { return }
        known.append((name, from, body))
        orders["\(host.name) \(key.migration)/\(key.attempt)"] = known
    }

    /// An order of an attempt that the network has twice, or held up.
    func bring(
        _ name: String, from: String, to host: SimulatedHost, in time: Int64, _ body: @escaping @Sendable (SimulatedAgent) async -> Void
    ) {
        loop.after(time) { [self] in
            guard let agent = host.agent, canReach(from, host.name) else { return }
            tell("\(name) of \(from) comes to \(host.name) late")
            loop.spawn { await body(agent) }
        }
    }

    /// The orders that this host had of an attempt come once more, in any order.
    private func bringAgain(_ key: AttemptKey, to host: SimulatedHost) {
        for order in orders["\(host.name) \(key.migration)/\(key.attempt)"] ?? [] {
            bring(order.name, from: order.from, to: host, in: dice.within(1000...(dice.hits(5000) ? 1_000_000 : 20_000_000)), order.body)
        }
    }

    /// The network holds an order up, and whatever else goes that way: it comes when its sender may think of something else.
    func holdUp(
        _ name: String, of key: AttemptKey, from: String, to host: SimulatedHost, _ body: @escaping @Sendable (SimulatedAgent) async -> Void
    ) {
        tell("\(name) of \(from) is held up on its way to \(host.name)")
        // Some for no longer than whoever asks has patience for.
        let time = dice.within(300_000...(dice.hits(5000) ? 2_500_000 : 14_000_000))
        cut(from, host.name, for: time)
        if dice.hits(5000) { loop.after(dice.within(0...500_000)) { self.cancel(key.migration) } }
        bring(name, from: from, to: host, in: time + dice.within(1000...(dice.hits(5000) ? 1_000_000 : 20_000_000)), body)
    }

    func endFaults() {
        isFaulty = false
        isStoreDown = false
        cuts = [:]
        listeners.removeAll()
    }
}
