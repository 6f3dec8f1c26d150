import AgentAPI
import AgentFakes
import Engine
import Fleet

/// A process of the control plane: it dies at any of its awaits, and another one of the same name comes after it.
final class Process: @unchecked Sendable {
    // Belongs to the world's thread.

    let name: String
    /// As it calls itself in leases; no other one before or after it has the same.
    let holder: String
    private unowned let world: World
    private(set) var isAlive = true
    /// Ends its tasks.
    var end: () -> Void = {}

    let isMortal: Bool

    init(name: String, holder: String? = nil, world: World, isMortal: Bool = true) {
        self.name = name
        self.holder = holder ?? name
        self.world = world
        self.isMortal = isMortal
    }

    /// - Throws: `CancellationError` when it is dead: nothing of it acts any more.
    func requireAlive() throws {
        guard isAlive else { throw CancellationError() }
    }

    /// Where it may die.
    func gate() async throws {
        try requireAlive()
        if isMortal, world.isFaulty, world.dice.hits(world.faults.workerCrashes) {
            die()
            throw CancellationError()
        }
    }

    func die() {
        guard isAlive else { return }
        isAlive = false
        world.tell("\(name) dies")
        end()
    }
}

/// The agents as a process reaches them over the network.
struct SimulatedAgents: AgentDirectory {
    let world: World
    let process: Process

    func agent(of host: Fleet.Host) -> any AgentOrders {
        SimulatedLink(world: world, from: process.name, process: process, caller: nil, host: world.host(host.name))
    }
}

/// One peer's way to an agent: orders take time, are lost before or after they are obeyed, come twice, or late.
struct SimulatedLink: PartialAgent {
    let world: World
    let from: String
    let process: Process?
    /// The agent that asks, where it is one.
    let caller: SimulatedAgent?
    let host: SimulatedHost?

    private func unreachable(_ why: String) -> AgentProblem {
        AgentProblem(.unreachable, "unreachable", "the agent of \(host?.name ?? "nobody") does not answer: \(why)")
    }

    /// - Parameter key: of the attempt that is ordered; nil of a question.
    private func call<T: Sendable>(
        _ order: @autoclosure () -> String, of key: AttemptKey? = nil, isTold: Bool = true,
        _ body: @escaping @Sendable (SimulatedAgent) async throws -> T
    ) async throws -> T {
        try await process?.gate()
        guard let host else { throw unreachable("no such host") }
        let (loop, faults) = (world.loop, world.faults)
        try await loop.sleep(delay())
        try process?.requireAlive()
        if world.isFaulty {
            let again: @Sendable (SimulatedAgent) async -> Void = { _ = try? await body($0) }
            if let key {
                world.sent(order(), of: key, from: from, to: host, again)
                if world.dice.hits(faults.heldOrders) { world.holdUp(order(), of: key, from: from, to: host, again) }
            }
            if world.dice.hits(faults.duplicates) {
                // The network has it twice: once more, later, whatever comes of it.
                world.bring(
                    order(), from: from, to: host, in: loop.dice.within(1000...(loop.dice.hits(2000) ? 60_000_000 : 2_000_000)), again)
            }
        }
        guard world.canReach(from, host.name), !(world.isFaulty && world.dice.hits(faults.losses)) else {
            try await loop.sleep(loop.dice.within(50_000...2_000_000))
            throw unreachable("the order is lost")
        }
        guard let agent = host.agent else {
            try await loop.sleep(loop.dice.within(1000...100_000))
            throw unreachable(host.isOn ? "connection refused" : "no route")
        }
        if isTold { world.tell("\(from) → \(host.name): \(order())") }
        let result: Result<T, any Error> = try await loop.answer { (answer: Loop.Answer<Result<T, any Error>>) in
            loop.spawn {
                let outcome: Result<T, any Error>
                do { outcome = .success(try await body(agent)) } catch { outcome = .failure(error) }
                answer.give(.success(outcome))
            }
        }
        try await loop.sleep(delay())
        try await process?.gate()
        if world.isFaulty, world.dice.hits(faults.losses) || !world.canReach(host.name, from) {
            try await loop.sleep(loop.dice.within(50_000...2_000_000))
            throw unreachable("the answer is lost")
        }
        switch result {
        case .success(let value): return value
        case .failure(let problem as AgentProblem): throw problem
        case .failure: throw unreachable("it died")
        }
    }

    private func delay() -> Int64 {
        world.loop.dice.within(100...(world.isFaulty && world.dice.hits(300) ? world.faults.networkStall : 3000))
    }

    func host() async throws -> HostFacts { try await call("host") { $0.hostFacts() } }
    func guest(_ server: ServerID) async throws -> GuestReport { try await call("guest") { try $0.guest(server) } }
    func cpuFeatures(_ server: ServerID) async throws -> CPUFeaturesReport {
        try await call("cpu-features") { _ in CPUFeaturesReport(features: []) }
    }
    func checkCPU(_ order: CPUCheckOrder) async throws -> CPUCheckReport {
        try await call("check-cpu") { _ in CPUCheckReport(missing: []) }
    }
    func start(_ server: ServerID, _ order: StartOrder) async throws -> GuestReport {
        try await call("start \(server)") { try await $0.start(server, order) }
    }
    func stop(_ server: ServerID, _ order: StopOrder) async throws -> GuestReport {
        try await call("stop \(server)") { try await $0.stop(server, order) }
    }
    func prepare(_ server: ServerID, _ order: PrepareOrder) async throws -> IncomingReport {
        try await call("prepare \(world.name(order.key))", of: order.key) { try await $0.prepare(server, order) }
    }
    func mirror(_ server: ServerID, _ order: MirrorOrder) async throws -> OutgoingReport {
        try await call("mirror \(world.name(order.key))", of: order.key) { try await $0.mirror(server, order) }
    }
    func sendMemory(_ server: ServerID, _ order: MemoryOrder) async throws -> OutgoingReport {
        try await call("send-memory \(world.name(order.key))", of: order.key) { try await $0.sendMemory(server, order) }
    }
    func abort(_ server: ServerID, _ order: AbortOrder) async throws -> OutgoingReport {
        try await call("abort \(world.name(order.key))\(order.targetRefused ? ", refused" : "")", of: order.key) {
            try await $0.abort(server, order)
        }
    }
    func handOver(_ server: ServerID, _ order: HandoverOrder) async throws -> IncomingReport {
        try await call("hand-over \(world.name(order.key))", of: order.key) { try await $0.handOver(server, order) }
    }
    func refuse(_ server: ServerID, _ order: RefuseOrder) async throws -> IncomingReport {
        try await call("refuse \(world.name(order.key))", of: order.key) { try await $0.refuse(server, order) }
    }
    func discard(_ server: ServerID, _ order: DiscardOrder) async throws -> DiscardReport {
        try await call("discard \(order.end.rawValue) \(world.name(order.key))", of: order.key) { try await $0.discard(server, order) }
    }
    func prove(_ server: ServerID, _ order: ProofOrder) async throws -> ProofReport {
        try await call("prove \(order.act.rawValue) \(world.name(order.key))", of: order.key) { try await $0.prove(server, order) }
    }
    func adopt(_ server: ServerID, _ order: AdoptOrder) async throws -> GuestReport {
        try await call("adopt \(world.name(order.key))", of: order.key) { try await $0.adopt(server, order) }
    }
    func lend(_ server: ServerID, _ order: LendOrder) async throws -> LoanReport {
        try await call("lend \(world.name(order.key))", of: order.key) { try await $0.lend(server, order) }
    }
    func yield(_ server: ServerID, _ order: YieldOrder) async throws -> LoanReport {
        try await call("yield \(world.name(order.key))", of: order.key) { try await $0.yield(server, order) }
    }
    func takeBack(_ server: ServerID, _ order: TakeBackOrder) async throws -> LoanReport {
        try await call("take-back \(world.name(order.key))\(order.targetRefused ? ", refused" : "")", of: order.key) {
            try await $0.takeBack(server, order)
        }
    }
    func receive(_ server: ServerID, _ order: ReceiveOrder) async throws -> IncomingReport {
        try await call("receive \(world.name(order.key))", of: order.key) { try await $0.receive(server, order) }
    }
    func loan(_ server: ServerID, _ key: AttemptKey) async throws -> LoanReport { try await call("loan") { try $0.loan(server, key) } }
    func outgoing(_ server: ServerID, _ key: AttemptKey, seen: Int64, waitMS: Int64) async throws -> OutgoingReport {
        try await call("outgoing", isTold: false) { try await $0.outgoing(server, key, seen: seen, waitMS: waitMS) }
    }
    func incoming(_ server: ServerID, _ key: AttemptKey, seen: Int64, waitMS: Int64) async throws -> IncomingReport {
        try await call("incoming", isTold: false) { try await $0.incoming(server, key, seen: seen, waitMS: waitMS) }
    }
}
