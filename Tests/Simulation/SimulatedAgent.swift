import AgentAPI
import Attempts
import Fleet
import Sharing

/// The agent of one host, from its start to its death. What it decides about records is the product's own code (`Attempts`, `Sharing`); the
/// order of its writes and effects is that of `Sources/Agent` (`Guest`, `Outgoing`, `Incoming`, `Receiver`), which does the same with real
/// QEMUs. Between any two of them it may die.
final class SimulatedAgent: @unchecked Sendable {
    // Belongs to the world's thread.

    unowned let host: SimulatedHost
    let number: Int
    private(set) var isDead = false
    var outgoing: [ServerID: OutgoingDriver] = [:]
    var incoming: [ServerID: IncomingDriver] = [:]
    var receivers: [ServerID: CopyDriver] = [:]
    private var passing: Set<ServerID> = []
    private var queue: [ServerID: [Loop.Answer<Void>]] = [:]
    private var watchers: [ServerID: [Loop.Answer<Void>]] = [:]

    var world: World { host.world }

    /// The process is no more: whatever it was about stops where it is.
    struct Died: Error {}

    init(host: SimulatedHost, number: Int) {
        self.host = host
        self.number = number
    }

    func die() {
        isDead = true
        for answer in queue.values.joined() { answer.give(.failure(Died())) }
        for answer in watchers.values.joined() { answer.give(.success(())) }
        queue = [:]
        watchers = [:]
    }

    /// Takes up what an earlier agent left.
    func restore() {
        for server in host.records.keys.sorted(by: { $0.value < $1.value }) {
            do {
                if world.mutation == .forgottenRefusals { try change(server) { $0.refused = [] } }
                if case .lost(let owner) = verdict(server) {
                    try giveUp(server, to: owner)
                    continue
                }
            } catch { return }
            if world.mutation == .continuedAfterRestart, let machine = host.machine(server), machine.memory == .completed {
                machine.memory = .cancelled
                machine.run()
            }
            let record = record(server)
            if let known = record.outgoing { drive(known, server, isInherited: true) }
            if let known = record.incoming {
                if known.receipt != nil { copy(known, server) } else { drive(known, server) }
            }
        }
        lookForOwners()
    }

    // MARK: records

    func record(_ server: ServerID) -> GuestRecord { host.records[server] ?? GuestRecord(server: server) }

    /// It may die here.
    func crashPoint() throws {
        guard !isDead else { throw Died() }
        if world.isFaulty, world.dice.hits(world.faults.agentCrashes) {
            host.crashAgent()
            throw Died()
        }
    }

    /// Changes a record; durably, when it returns.
    @discardableResult
    func change<Result>(_ server: ServerID, _ body: (inout GuestRecord) throws -> Result) throws -> Result {
        try crashPoint()
        let before = record(server)
        var record = before
        let result = try body(&record)
        record.sequence += 1
        host.records[server] = record
        world.checker.changed(before, record, on: host)
        world.meet(before, record, on: host)
        try crashPoint()
        return result
    }

    // MARK: waiting

    /// Drivers look anew, and so does whoever waits for a report.
    func wake(_ server: ServerID) {
        outgoing[server]?.wake(after: world.dice.within(50...3000))
        incoming[server]?.wake(after: world.dice.within(50...3000))
    }

    func changed(_ server: ServerID) {
        guard let waiting = watchers.removeValue(forKey: server) else { return }
        for answer in waiting { answer.give(.success(())) }
    }

    /// Waits until a report changes, at most so many microseconds.
    func nextChange(_ server: ServerID, atMost limit: Int64) async throws {
        try await world.loop.answer { (answer: Loop.Answer<Void>) in
            watchers[server, default: []].append(answer)
            world.loop.after(limit) { answer.give(.success(())) }
        }
        guard !isDead else { throw Died() }
    }

    // MARK: orders

    /// Passes an order: in its turn, with its epoch obeyed and on the disk before anything is done.
    func obey<Result: Sendable>(
        _ server: ServerID, _ epoch: Epoch, _ name: String, _ body: () async throws -> Result
    ) async throws -> Result {
        try await passing(server) {
            if world.mutation != .noEpochCheck { try change(server) { try $0.admit(epoch) } }
            world.checker.obeyed(epoch, server, host, name)
            return try await body()
        }
    }

    func passing<Result: Sendable>(_ server: ServerID, _ body: () async throws -> Result) async throws -> Result {
        guard !isDead else { throw Died() }
        if passing.contains(server) {
            try await world.loop.answer { (answer: Loop.Answer<Void>) in queue[server, default: []].append(answer) }
        }
        guard !isDead else { throw Died() }
        passing.insert(server)
        defer {
            if queue[server]?.isEmpty == false, let next = queue[server]?.removeFirst() {
                next.give(.success(()))
            } else {
                passing.remove(server)
            }
        }
        return try await body()
    }

    func requireHome(_ server: ServerID) throws {
        let record = record(server)
        switch record.tenure {
        case .home: if record.description != nil { return }
        case .none:
            if let owner = record.lost?.owner { throw Self.problem(owner) }
        case .awaited: throw AgentProblem(.conflict, .invalidRequest, "server \(server) is on its way here and not this host's to run yet")
        case .handedOver:
            throw AgentProblem(.owned, .invalidRequest, "server \(server) was handed over to another host and shall not run here")
        }
        throw AgentProblem(.notFound, .invalidRequest, "server \(server) is not defined on host \(host.name)")
    }

    /// Removes the server's own disks here.
    func removeFiles(_ server: ServerID) {
        world.checker.removes(server, host)
        host.content[server] = nil
        host.copied[server] = nil
    }

    // MARK: shared disks

    static func problem(_ owner: OwnerRecord) -> AgentProblem {
        AgentProblem(.owned, .staleEpoch, "server \(owner.server) is host \(owner.host)'s since epoch \(owner.epoch)")
    }

    func verdict(_ server: ServerID) -> OwnerRule.Verdict? {
        let record = record(server)
        guard record.tenure == .home, world.server(server).isShared else { return nil }
        return OwnerRule.judge(
            ["shared": world.server(server).owner], host: host.name, since: record.ownedSince ?? record.epoch)
    }

    func requireOwned(_ server: ServerID) throws {
        switch verdict(server) {
        case nil, .mine: return
        case .write: world.server(server).owner = owner(server)
        case .lost(let owner):
            try giveUp(server, to: owner)
            throw Self.problem(owner)
        }
    }

    private func owner(_ server: ServerID) -> OwnerRecord {
        let record = record(server)
        return OwnerRecord(server: server, epoch: record.ownedSince ?? record.epoch, host: host.name)
    }

    func giveUp(_ server: ServerID, to owner: OwnerRecord) throws {
        guard record(server).tenure == .home else { return }
        let machine = host.machine(server)
        machine?.end()
        endMigrations(server)
        try change(server) { $0.lose(to: owner, endedGuest: machine != nil) }
    }

    /// Takes up again what was given up to a rescue that was then taken back (`Guest.regain`).
    private func regain(_ server: ServerID) throws {
        let known = record(server)
        guard known.tenure == .none, let lost = known.lost, let guest = lost.description, !passing.contains(server),
            world.server(server).owner?.host == host.name
        else { return }
        world.tell("\(host.name) takes \(server) up again, for its rescue was taken back")
        try change(server) { record in
            record.own(under: lost.ownedSince ?? .none)
            record.description = guest
        }
    }

    /// Every few seconds, as the real agent does for all of its servers.
    private func lookForOwners() {
        world.loop.after(world.dice.within(1_000_000...4_000_000)) { [self] in
            guard !isDead else { return }
            for server in host.records.keys.sorted(by: { $0.value < $1.value }) {
                do {
                    try regain(server)
                    switch verdict(server) {
                    case nil, .mine: break
                    case .write: if !passing.contains(server) { world.server(server).owner = owner(server) }
                    case .lost(let owner): try giveUp(server, to: owner)
                    }
                } catch { return }
            }
            lookForOwners()
        }
    }

    // MARK: drivers

    func drive(_ record: OutgoingRecord, _ server: ServerID, isInherited: Bool) {
        outgoing[server]?.stop()
        let driver = OutgoingDriver(record, server, self, isInherited: isInherited)
        outgoing[server] = driver
        driver.wake(after: world.dice.within(50...2000))
    }

    func drive(_ record: IncomingRecord, _ server: ServerID) {
        incoming[server]?.stop()
        let driver = IncomingDriver(record, server, self)
        incoming[server] = driver
        driver.wake(after: world.dice.within(50...2000))
    }

    func copy(_ record: IncomingRecord, _ server: ServerID) {
        receivers[server]?.stop()
        let driver = CopyDriver(record, server, self)
        receivers[server] = driver
        driver.start()
    }

    func endMigrations(_ server: ServerID) {
        outgoing.removeValue(forKey: server)?.stop()
        incoming.removeValue(forKey: server)?.stop()
        receivers.removeValue(forKey: server)?.stop()
        changed(server)
    }

    /// Has nothing left of a guest that was handed over (`Guest.clearSource`).
    func clearSource(_ server: ServerID) throws {
        if host.machine(server)?.isRunning == true {
            throw AgentProblem(.owned, .invalidRequest, "server \(server) runs here against its record: nothing is removed")
        }
        endMigrations(server)
        host.machine(server)?.end()
        try crashPoint()
        removeFiles(server)
        try change(server) { $0.forget() }
    }

    /// Gives up an attempt that was prepared here, durably, and removes what it made (`Guest.dropIncoming`).
    func dropIncoming(_ server: ServerID, keepsCopies: Bool = false) throws {
        try change(server) { try $0.giveUpIncoming() }
        incoming.removeValue(forKey: server)?.stop()
        receivers.removeValue(forKey: server)?.stop()
        host.machine(server)?.end()
        try crashPoint()
        let record = record(server)
        if keepsCopies, let guest = record.description, let key = record.incoming?.key, record.incoming?.receipt != nil {
            try change(server) {
                $0.forget()
                $0.kept = KeptCopies(key: key, description: guest)
            }
        } else {
            removeFiles(server)
            try change(server) { $0.forget() }
        }
        changed(server)
    }

    /// What the server left when it moved away goes for a migration that brings it back (`Guest.makeWay`).
    func makeWay(_ server: ServerID, for key: AttemptKey) throws {
        let record = record(server)
        let loan = record.loan.flatMap { $0.phase == .yielded ? $0 : nil }
        guard let away = loan?.key ?? record.outgoing?.key, away.migration != key.migration else {
            throw AgentProblem(.conflict, .invalidRequest, "what server \(server) left here when it moved away is not cleaned up yet")
        }
        if let loan { try discardLent(loan, server) } else { try clearSource(server) }
    }

    func discardLent(_ known: LoanRecord, _ server: ServerID) throws {
        switch known.phase {
        case .returned: return
        case .lent: try change(server) { $0.loan?.phase = .returned }
        case .yielded:
            guard host.machine(server) == nil else {
                throw AgentProblem(.owned, .invalidRequest, "server \(server) runs here against its record: nothing is removed")
            }
            endMigrations(server)
            removeFiles(server)
            try change(server) { $0.forget() }
        }
    }
}
