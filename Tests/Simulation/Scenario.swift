import AgentAPI
import AgentFakes
import Attempts
import Cold
import Engine
import Fleet
import Live
import Logging
import Rescue
import SQL
import Sharing
import Steps
import Store

/// What is done in a world: servers are made and migrated again and again by several workers, until all is healed and has ended.
final class Scenario: @unchecked Sendable {
    // Belongs to the world's thread.

    private let world: World
    private let workers: Int
    private var processes: [String: Process] = [:]
    private var incarnations = 0
    private let stop = Latch()
    private(set) var isOver = false
    private var isEnding = false

    /// After all is healed everything must have come to its end within this time.
    private static let patience: Int64 = 1_500_000_000

    init(_ world: World) {
        self.world = world
        workers = 1 + world.dice.below(3)
    }

    func play() async {
        do {
            try await setUp()
        } catch {
            world.checker.fail("model", "the world cannot be set up: \(error)")
            return
        }
        if let mutation = world.mutation {
            world.database.twist = mutation.twist
            if mutation == .secondMigration { try? world.database.script("DROP INDEX migrations_unfinished") }
        }
        for number in 1...workers { startWorker("worker\(number)") }
        world.cancel = { [unowned self] migration in world.loop.spawn { await self.cancel(migration) } }
        world.beginFaults((1...workers).map { "worker\($0)" } + ["user"])
        let users = world.knownServers.map { server in Task { await self.use(server) } }
        for user in users { await user.value }
        await settle()
        world.checker.lookAtAllOfTheStore()
        if world.checker.breach == nil { checkEnd() }
        isOver = true
    }

    func tearDown() {
        isEnding = true
        world.endFaults()
        stop.set()
        for process in processes.values { process.die() }
        for host in world.hosts {
            host.isOn = false
            host.crashAgent()
        }
    }

    // MARK: what there is

    private func store(_ process: Process) async throws -> Store {
        try await Store(SimulatedStore(world: world, process: process), ids: world.ids)
    }

    private func setUp() async throws {
        let process = Process(name: "user", world: world, isMortal: false)
        processes["user"] = process
        let store = try await store(process)
        var hosts: [SimulatedHost] = []
        for number in 1...(3 + world.dice.below(2)) {
            let host = SimulatedHost(name: "host\(number)", world: world)
            let registered = try await store.registerHost(name: host.name, agentURL: "https://\(host.name)")
            host.id = registered.id
            try await store.recordHealth(
                of: registered.id, facts: .staged(memoryGB: World.hostMemoryGB), validForMS: 100_000_000, leaseMS: 100_000_000)
            hosts.append(host)
        }
        world.hosts = hosts
        for number in 1...(3 + world.dice.below(4)) { try await createServer(number, store) }
        for host in hosts { host.startAgent() }
    }

    private func createServer(_ number: Int, _ store: Store) async throws {
        let host = world.hosts[world.dice.below(world.hosts.count)]
        let id = ServerID("server\(number)")
        let isShared = world.dice.hits(4000)
        let known = World.KnownServer(id: id, isShared: isShared, chunkTime: world.dice.within(50_000...900_000))
        world.add(known)
        let description = GuestDescription(
            server: id, name: "vm\(number)", vcpus: 1, memoryBytes: (8 + Int64(world.dice.below(3)) * 8) << 30, cpuModel: "qemu64-v1",
            machine: "pc-i440fx-7.2", accelerator: .tcg, firmware: .bios, boot: nil,
            disks: [.init(name: "disk0", sizeBytes: 1 << 20, format: .qcow2, bus: .virtioBlk, storage: isShared ? "shared" : "local")],
            cdrom: nil, nics: [])
        let created: Server
        do {
            created = try await store.createServer(
                Server(
                    id: id, name: "vm\(number)", status: .deploying, host: host.id, epoch: .none, description: description, note: nil,
                    createdAt: .now), owner: "user", leaseMS: 60_000)
        } catch let error as StoreError where error.code == .overbooked {
            return
        }
        let isRunning = world.dice.hits(6000)
        try await store.finishOperation(id, epoch: created.epoch, status: isRunning ? .running : .ready, note: nil)
        var record = GuestRecord(server: id)
        record.epoch = created.epoch
        record.own(under: created.epoch)
        record.description = description
        record.desired = isRunning ? .running : .stopped
        host.records[id] = record
        if isShared { known.owner = OwnerRecord(server: id, epoch: created.epoch, host: host.name) } else { host.content[id] = 0 }
        if isRunning { host.launch(id, life: 0).run() }
    }

    // MARK: workers

    private func startWorker(_ name: String) {
        guard !isEnding else { return }
        incarnations += 1
        let number = incarnations
        let process = Process(name: name, holder: "\(name).\(number)", world: world)
        processes[name] = process
        let clock = SimulatedClock(
            loop: world.loop, drift: world.dice.within(-2000...2000), skewMS: world.dice.within(-3000...3000))
        world.tell("\(name) starts")
        let task = Task { [self] in
            await Timestamp.$clock.withValue(clock.wall) {
                await Chance.$source.withValue(Chance.Source { [world] in world.dice.next() }) {
                    await work(process, clock)
                }
            }
        }
        process.end = { [self] in
            task.cancel()
            guard !isEnding else { return }
            world.loop.after(world.dice.within(100_000...(world.dice.hits(1000) ? 40_000_000 : 3_000_000))) { [self] in startWorker(name) }
        }
    }

    private func work(_ process: Process, _ clock: SimulatedClock) async {
        var settings = EngineSettings()
        settings.leaseMS = 8000
        settings.patience = .seconds(10)
        settings.shortPatience = .seconds(2)
        settings.retry = Backoff(base: .milliseconds(500), cap: .seconds(5))
        settings.awaiting = Backoff(base: .milliseconds(500), cap: .seconds(5))
        settings.cleanup = Backoff(base: .seconds(1), cap: .seconds(10))
        while process.isAlive, !Task.isCancelled {
            do {
                let store = try await store(process)
                let agents = SimulatedAgents(world: world, process: process)
                let plans = PlanCatalog([
                    LivePlan.plan(store: store, agents: agents), ColdPlan.plan(store: store, agents: agents),
                    RescuePlan.plan(store: store, agents: agents),
                ])
                let worker = Worker(
                    store: store, plans: plans, agents: agents, name: process.holder, settings: settings, clock: clock,
                    log: Logger(label: "", factory: { _ in SwiftLogNoOpLogHandler() }))
                await worker.run(until: stop)
                return
            } catch {
                await world.loop.pause(500_000)
            }
        }
    }

    // MARK: users

    private func use(_ server: World.KnownServer) async {
        guard let process = processes["user"], let store = try? await patiently({ try await self.store(process) }) else { return }
        for _ in 0..<(1 + world.dice.below(3)) {
            await world.loop.pause(world.dice.within(0...6_000_000))
            guard world.checker.breach == nil, !isEnding else { return }
            do {
                if world.dice.hits(2500) { try await operate(server, store) }
                try await migrate(server, store)
            } catch is StoreError {
                // It is busy, or just not in the status for this.
            } catch {
                if !(error is CancellationError) { world.checker.fail("model", "a user meets \(error)") }
                return
            }
        }
    }

    private func cancel(_ migration: MigrationID) async {
        guard !isEnding, let process = processes["user"] else { return }
        world.tell("\(world.name(migration)) is to be cancelled")
        _ = try? await patiently { try await self.store(process).requestCancel(migration, actor: "user") }
    }

    /// Asks again as long as the store does not answer.
    private func patiently<T>(_ body: () async throws -> T) async throws -> T {
        while true {
            do {
                return try await body()
            } catch let error as StoreError where error.code == .unavailable {
                guard !isEnding else { throw CancellationError() }
                await world.loop.pause(300_000)
            }
        }
    }

    /// Starts what is off, or stops what runs, as a controller does.
    private func operate(_ server: World.KnownServer, _ store: Store) async throws {
        guard let process = processes["user"] else { return }
        let now = try await patiently { try await store.server(server.id.value) }
        guard now.status == .running || now.status == .ready else { return }
        let starts = now.status == .ready
        let held: Server
        do {
            held = try await store.beginOperation(
                server.id, starts ? .starting : .stopping, from: [now.status], owner: "user", leaseMS: 600_000)
        } catch let error as StoreError where error.code == .unavailable {
            // It may have begun all the same, which its holder then finds.
            let again = try await patiently { try await store.server(server.id.value) }
            guard again.status.isOperation else { return }
            held = again
        }
        let host = try await patiently { try await store.host(held.host.value) }
        let agent = SimulatedAgents(world: world, process: process).agent(of: host)
        var status = starts ? ServerStatus.running : .ready
        server.mayBeOff = true
        while !isEnding {
            do {
                if starts {
                    _ = try await agent.start(server.id, StartOrder(epoch: held.epoch))
                } else {
                    _ = try await agent.stop(server.id, StopOrder(epoch: held.epoch, graceMS: 0))
                }
                break
            } catch let problem as AgentProblem {
                guard problem.kind == .unreachable else {
                    status = now.status
                    break
                }
                await world.loop.pause(500_000)
            }
        }
        try await patiently { try await store.finishOperation(server.id, epoch: held.epoch, status: status, note: nil) }
    }

    private func migrate(_ server: World.KnownServer, _ store: Store) async throws {
        let now = try await patiently { try await store.server(server.id.value) }
        if now.status == .running, let host = world.hosts.first(where: { $0.id == now.host }), host.machine(server.id) == nil {
            // What a controller sees of a guest that has ended.
            try await patiently { try await store.observeGuest(server.id, epoch: now.epoch, status: .ready, note: nil) }
            return
        }
        guard now.status == .running || now.status == .ready else { return }
        let isRescue = try await prepareRescue(server, now, store)
        let mode = isRescue ? Mode.rescue : now.status == .running ? .live : .cold
        var options = MigrationOptions()
        options.confirmHostDown = isRescue
        let attempts = 1 + world.dice.below(3)
        let submitted: Migration
        do {
            submitted = try await store.submitMigration(
                server: server.id, mode: mode, options: options, maxAttempts: attempts, actor: "user")
        } catch let error as StoreError where error.code == .unavailable {
            // It may have been accepted, and is carried out then.
            return
        }
        world.tell("\(server.id) is to be migrated \(mode.rawValue): \(world.name(submitted.id))")
        if world.dice.hits(1000) {
            _ = try? await store.submitMigration(
                server: server.id, mode: mode, options: options, maxAttempts: attempts, actor: "user")
        }
        if world.dice.hits(world.faults.cancellations) {
            await world.loop.pause(world.dice.within(0...8_000_000))
            await cancel(submitted.id)
        }
        while !isEnding, world.checker.breach == nil, try !isFinished(submitted.id), !isTooLate { await world.loop.pause(1_000_000) }
    }

    /// What a controller's health watch and an operator do: hosts without power are offline, hosts that are back online.
    /// - Returns: whether the server is to be rescued, for its host has no power.
    private func prepareRescue(_ server: World.KnownServer, _ now: Server, _ store: Store) async throws -> Bool {
        for host in world.hosts where host.isOffline == host.isOn {
            let isOffline = !host.isOn
            try await patiently {
                _ = try await store.recordHealth(
                    of: host.id, facts: .staged(memoryGB: World.hostMemoryGB), validForMS: isOffline ? 0 : 100_000_000,
                    leaseMS: 100_000_000)
            }
            host.isOffline = isOffline
        }
        guard server.isShared, let host = world.hosts.first(where: { $0.id == now.host }) else { return false }
        return host.isOffline && !host.isOn
    }

    private func isFinished(_ id: MigrationID) throws -> Bool {
        try world.database.run("SELECT finished_at FROM migrations WHERE id = \(id.value)").first?.optionalInteger("finished_at") != nil
    }

    // MARK: the end

    private var isTooLate: Bool { world.loop.now > world.faults.healAt + Self.patience }

    private func count(_ query: SQLStatement) -> Int64 { (try? world.database.run(query).first?.integer("n")) ?? -1 }

    /// Waits for the end of all that was begun.
    private func settle() async {
        while !isEnding, world.checker.breach == nil, !isTooLate {
            let open = count(
                """
                SELECT (SELECT COUNT(*) FROM migrations WHERE finished_at IS NULL) + (SELECT COUNT(*) FROM cleanups WHERE done_at IS NULL)
                    + (SELECT COUNT(*) FROM migrations WHERE active = 1) AS n
                """)
            if open == 0, !world.isFaulty, world.hosts.allSatisfy({ $0.agent != nil }) { break }
            await world.loop.pause(2_000_000)
        }
        // For what agents do by themselves.
        await world.loop.pause(10_000_000)
    }

    private func checkEnd() {
        func fail(_ rule: String, _ text: String) { world.checker.fail(rule, text) }
        do {
            for row in try world.database.run(
                "SELECT id, state, direction, attempt, awaiting, reason_message, lease_owner FROM migrations WHERE finished_at IS NULL")
            {
                fail(
                    "9",
                    "\(try row.text("id")) never ended: \(try row.text("state")) \(try row.text("direction")), attempt \(try row.integer("attempt")), awaiting \(try row.optionalText("awaiting") ?? "nothing"), \(try row.optionalText("reason_message") ?? "no reason"), held by \(try row.optionalText("lease_owner") ?? "nobody")"
                )
            }
            for row in try world.database.run("SELECT id, last_error FROM cleanups WHERE done_at IS NULL") {
                fail("7", "cleanup \(try row.text("id")) is never done: \(try row.optionalText("last_error") ?? "not tried")")
            }
            if count("SELECT COUNT(*) AS n FROM reservations") != 0 { fail("8", "something is still reserved") }
            for row in try world.database.run(
                "SELECT s.id, s.status, h.name FROM servers s JOIN hosts h ON h.id = s.host_id ORDER BY s.id")
            {
                check(ServerID(try row.text("id")), placedOn: try row.text("name"), status: try row.text("status"))
            }
        } catch {
            fail("3", "the store cannot be looked at: \(error)")
        }
    }

    private func check(_ id: ServerID, placedOn name: String, status: String) {
        let server = world.server(id)
        guard let home = world.host(name) else { return }
        let record = home.records[id] ?? GuestRecord(server: id)
        guard record.tenure == .home else {
            return world.checker.fail("2", "\(id) is lost: \(name), where it is placed, says \(record.tenure.rawValue)")
        }
        for host in world.hosts where host !== home {
            let tenure = host.records[id]?.tenure ?? .none
            if tenure != .none { world.checker.fail("7", "\(host.name) still has \(id), which is on \(name): \(tenure.rawValue)") }
            if host.machine(id) != nil { world.checker.fail("7", "\(host.name) still has a QEMU of \(id), which is on \(name)") }
            if host.content[id] != nil { world.checker.fail("7", "\(host.name) still has disks of \(id), which is on \(name)") }
        }
        if record.loan?.bindsServer == true { world.checker.fail("9", "\(name) lends \(id) to nobody, and keeps it from starting") }
        if let outgoing = record.outgoing, !outgoing.isOver {
            world.checker.fail("9", "\(name) sends \(id) away in \(world.name(outgoing.key)), and nothing is under way")
        }
        let machine = home.machine(id)
        if let machine {
            if !machine.isRunning { world.checker.fail("2", "the guest of \(id) stands still on \(name), and nothing is under way") }
            if status != ServerStatus.running.rawValue { world.checker.fail("3", "\(id) runs on \(name) and is called \(status)") }
        } else {
            if status == ServerStatus.running.rawValue, !server.mayBeOff { world.checker.fail("2", "the guest of \(id) is gone") }
            if !server.isShared, home.content[id] != server.highest {
                world.checker.fail("7", "the disks of \(id) on \(name) are not what its guest had written last")
            }
        }
    }
}
