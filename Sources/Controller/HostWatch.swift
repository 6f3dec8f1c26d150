package import AgentAPI
package import Fleet
package import Logging
import ServiceLifecycle
package import Store
import Synchronization

/// Asks every host's agent what is true, again and again: keeps the store's picture of the hosts fresh, and corrects a server's status
/// when its guest ended, or runs, without anybody's order.
package final class HostWatch: Service {
    private let store: Store
    private let agents: any AgentDirectory
    private let log: Logger
    private let timing: Timing
    /// Hosts whose agent has not answered yet to the last question.
    private let asked = Mutex<Set<HostID>>([])
    /// Hosts whose last question was answered: to log the change, not the state.
    private let answering = Mutex<[HostID: Bool]>([:])
    /// Hosts whose agent gave no answer to the last question, and when that was.
    private let silent = Mutex<[HostID: ContinuousClock.Instant]>([:])
    /// Guests without a server that were told already.
    private let strangers = Mutex<Set<String>>([])

    package struct Timing: Sendable {
        package var interval: Duration
        /// For one agent's answer.
        package var deadline: Duration
        /// How long one answer proves a host to be alive.
        package var validity: Duration
        /// How long a host's marked guests may run after it was last asked.
        package var lease: Duration

        package init(
            interval: Duration = .seconds(2), deadline: Duration = .seconds(5), validity: Duration = .seconds(10),
            lease: Duration = .milliseconds(GuardTiming.standardLeaseMS)
        ) {
            self.interval = interval
            self.deadline = deadline
            self.validity = validity
            self.lease = lease
        }
    }

    package init(store: Store, agents: any AgentDirectory, log: Logger, timing: Timing = Timing()) {
        self.store = store
        self.agents = agents
        self.log = log
        self.timing = timing
    }

    package func run() async throws {
        try await untilShutdown { [self] in
            try await withThrowingDiscardingTaskGroup { group in
                while true {
                    for host in await hosts() where asked.withLock({ $0.insert(host.id).inserted }) {
                        group.addTask {
                            await self.look(at: host)
                            self.asked.withLock { _ = $0.remove(host.id) }
                        }
                    }
                    // Agents call nobody: they are asked.
                    try await Task.sleep(for: timing.interval)
                }
            }
        }
    }

    private func hosts() async -> [Host] {
        do {
            return try await store.hosts()
        } catch {
            log.error("the hosts could not be read", metadata: ["error": "\(error)"])
            return []
        }
    }

    /// One host, once. A host that gives no answer is only left to grow stale.
    package func look(at host: Host) async {
        do {
            // Read before the agent is asked: an operation that ends in between has raised the epoch, and then nothing is corrected.
            let servers = try await store.servers(ServerFilter(host: host.id))
            let agent = agents.agent(of: host)
            let facts = try await answer(of: host, agent)
            // Written down before the guard hears of it.
            let order = try await store.recordHealth(
                of: host.id, facts: facts, validForMS: timing.validity.inMilliseconds, leaseMS: timing.lease.inMilliseconds)
            told(host, answers: true, error: nil)
            if let order { try await tell(host, agent, order) }
            try await reconcile(servers, on: host, facts)
        } catch is CancellationError {
            log.debug("a question to a host was given up", metadata: ["host": "\(host.name)"])
        } catch {
            told(host, answers: false, error: error)
        }
    }

    private func answer(of host: Host, _ agent: any AgentOrders) async throws -> HostFacts {
        do {
            let facts = try await within(timing.deadline) { try await agent.host() }
            silent.withLock { $0[host.id] = nil }
            return facts
        } catch let problem as AgentProblem where problem.kind == .unreachable {
            silent.withLock { $0[host.id] = .now }
            throw problem
        }
    }

    /// Whether this controller has just asked the host's agent and had no answer. False also when it has not asked lately, such as for want of
    /// the store.
    func isSilent(_ host: HostID) -> Bool {
        let patience = timing.interval + timing.deadline + .seconds(5)
        return silent.withLock { $0[host].map { $0.duration(to: .now) < patience } ?? false }
    }

    /// Gives the host's guard its order, and writes down that it confirmed a lease if nobody has.
    private func tell(_ host: Host, _ agent: any AgentOrders, _ order: GuardOrder) async throws {
        let report = try await within(timing.deadline) { try await agent.obeyGuard(order) }
        if let refusal = report.refusal {
            log.warning(
                "a host's guard does not obey", metadata: ["host": "\(host.name)", "order": "\(order.number)", "why": "\(refusal)"])
        }
        guard order.untilMS != nil, report.confirms, report.number >= order.number, !host.guardian.isConfirmed else { return }
        try await store.confirmGuard(of: host.id, number: order.number)
        log.notice("a host's guard has confirmed its lease", metadata: ["host": "\(host.name)"])
    }

    private func told(_ host: Host, answers: Bool, error: (any Error)?) {
        guard answering.withLock({ $0.updateValue(answers, forKey: host.id) }) != answers else { return }
        if let error {
            log.warning("a host does not answer", metadata: ["host": "\(host.name)", "agent": "\(host.agentURL)", "error": "\(error)"])
        } else {
            log.notice("a host answers", metadata: ["host": "\(host.name)", "agent": "\(host.agentURL)"])
        }
    }

    private func reconcile(_ servers: [Server], on host: Host, _ facts: HostFacts) async throws {
        let guests = Dictionary(facts.guests.map { ($0.server, $0) }) { first, _ in first }
        for server in servers {
            let guest = guests[server.id]
            // One that the guard ended is started again as soon as the host may, and the guard writes down which they are when it has ended them.
            if guest?.status == .stopped, facts.guardian?.isOver == true { continue }
            guard let correction = Self.correction(of: server, by: guest, on: host.name) else { continue }
            // Changes nothing where the server has moved on since it was read.
            try await store.observeGuest(
                server.id, epoch: server.epoch, status: correction.status, isPaused: correction.isPaused, note: correction.note)
            log.notice(
                "an agent saw another status than the store's",
                metadata: ["server": "\(server.name)", "host": "\(host.name)", "seen": "\(correction.status.rawValue)"])
            if correction.status == .ready, guest?.endedByGuard == true { try await startAgain(server, on: host) }
        }
        let known = Set(servers.map(\.id))
        for guest in facts.guests where !known.contains(guest.server) && guest.status != .incoming && guest.status != .handedOver {
            // A migration's own guests come and go on hosts where their server is not.
            guard try await store.migrations(MigrationFilter(server: guest.server, states: API.unfinished, limit: 1)).isEmpty,
                strangers.withLock({ $0.insert("\(host.id)/\(guest.server)").inserted })
            else { continue }
            log.warning(
                "a host has a guest whose server is not placed there", metadata: ["host": "\(host.name)", "server": "\(guest.server)"])
        }
    }

    /// A server whose guest was ended by the guard, and which was not rescued before its host was back. The intent is enough: whoever finds
    /// it carries it out, and the watch over the host does not wait for that.
    private func startAgain(_ server: Server, on host: Host) async throws {
        do {
            _ = try await store.beginOperation(server.id, .starting, from: [.ready], owner: "host-watch", leaseMS: 0)
            log.notice(
                "a server whose guest the guard had ended is started again", metadata: ["server": "\(server.name)", "host": "\(host.name)"])
        } catch let error as StoreError where [.busy, .wrongStatus, .notFound].contains(error.code) {
            log.info("a server is not started again", metadata: ["server": "\(server.name)", "why": "\(error.message)"])
        }
    }

    /// What a server's status must become by what the agent saw; nil where both agree or something is under way that will settle it.
    static func correction(
        of server: Server, by guest: GuestSummary?, on host: String
    ) -> (status: ServerStatus, isPaused: Bool, note: Reason?)? {
        switch (server.status, guest?.status) {
        case (.running, .stopped) where guest?.endedByGuard == true:
            (
                .ready, false,
                Reason(
                    .leaseOver,
                    "The guest of \(server.name) was ended on \(host) by the guard, for no controller had renewed the host's lease; it is started again."
                )
            )
        case (.running, .stopped):
            (
                .ready, false,
                Reason(.guestStopped, "The guest of \(server.name) ended on \(host) without an order; start the server to run it again.")
            )
        case (.running, nil):
            (.ready, false, Reason(.agentError, "The agent of \(host) does not know the guest of \(server.name) any more."))
        case (.ready, .running):
            (.running, false, nil)
        case (.ready, .paused):
            (.running, true, nil)
        case (.running, .running) where server.isPaused:
            (.running, false, nil)
        case (.running, .paused) where !server.isPaused:
            (.running, true, nil)
        default:
            nil
        }
    }
}
