import AgentAPI
import AgentFakes
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
    /// Faults happen.
    private(set) var isFaulty = false
    private(set) var isStoreDown = false
    private var cuts: [String: Int] = [:]
    private var listeners: [(process: Process, continuation: AsyncStream<Void>.Continuation)] = []
    private var isBusy = false
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

    func committed() {
        checker.lookAtStore()
        for listener in listeners where listener.process.isAlive { listener.continuation.yield() }
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

    func endFaults() {
        isFaulty = false
        isStoreDown = false
        cuts = [:]
        listeners.removeAll()
    }
}
