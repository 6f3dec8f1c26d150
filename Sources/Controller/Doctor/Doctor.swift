import AgentAPI
import Diagnosis
import Fleet
import Logging
import Store

/// Compares the store with what every host's agent tells, twice, and does what is safe about what both looks find.
package struct Doctor: Sendable {
    let store: Store
    let agents: any AgentDirectory
    /// Ends of the certificates that this controller uses.
    let certificates: @Sendable () throws -> [CertificateEnd]
    let timing: Timing

    package struct Timing: Sendable {
        /// For one agent's answer.
        package var deadline: Duration
        /// Between the two looks: longer than the watch over hosts takes to settle what settles itself.
        package var pause: Duration

        package init(deadline: Duration = .seconds(12), pause: Duration = .seconds(3)) {
            self.deadline = deadline
            self.pause = pause
        }
    }

    /// What became of a finding.
    struct Outcome: Sendable {
        var finding: Finding
        /// What was done about it, or why it could not be; nil where nothing was tried.
        var told: String?
        var isMended = false
    }

    /// What is wrong, with what the store says of it.
    func examine() async throws -> (findings: [Finding], books: StoreBooks) {
        let (first, books) = try await look()
        guard !first.isEmpty else { return ([], books) }
        // What the watch over hosts settles meanwhile is no finding, and it tells nothing of what it does not.
        try await Task.sleep(for: timing.pause)
        let (second, later) = try await look()
        return (Diagnosis.confirmed(first, by: second), later)
    }

    private func look() async throws -> (findings: [Finding], books: StoreBooks) {
        let before = try await store.books()
        let hosts = try await withThrowingTaskGroup(of: (HostID, Look.Sight).self) { group in
            for host in before.hosts { group.addTask { (host.id, try await self.see(host)) } }
            return try await group.reduce(into: [HostID: Look.Sight]()) { $0[$1.0] = $1.1 }
        }
        let attempts = hosts.values.flatMap { sight -> [MigrationID] in
            guard case .seen(let inventory, _) = sight else { return [] }
            return inventory.guests.flatMap(\.ends).map(\.key.migration)
        }
        let after = try await store.books(finished: Set(attempts))
        let look = Look(before: before, hosts: hosts, after: after, certificates: try certificates())
        return (Diagnosis.findings(of: look), after)
    }

    private func see(_ host: Host) async throws -> Look.Sight {
        do {
            let agent = agents.agent(of: host)
            let asked = try await store.now()
            let inventory = try await within(timing.deadline) { try await agent.inventory() }
            return .seen(inventory, skewMS: Look.skewMS(of: inventory.clock, between: asked, and: try await store.now()))
        } catch let problem as AgentProblem {
            return .silent(problem.reason.message)
        }
    }

    // MARK: mending

    /// Does about each finding what is safe. Every one is done under the epoch at which it was seen: what has moved on since is left alone.
    func mend(_ findings: [Finding], _ books: StoreBooks, actor: String, log: Logger) async throws -> [Outcome] {
        var outcomes: [Outcome] = []
        for finding in findings {
            guard let fix = finding.fix else {
                outcomes.append(Outcome(finding: finding))
                continue
            }
            do {
                let told = try await carryOut(fix, finding, books, actor: actor)
                log.notice("doctor mended", metadata: ["actor": "\(actor)", "finding": "\(finding.message)", "done": "\(told.told)"])
                outcomes.append(Outcome(finding: finding, told: told.told, isMended: told.isMended))
            } catch let problem as AgentProblem {
                outcomes.append(Outcome(finding: finding, told: "Not done: \(problem.reason.message)."))
            } catch let error as StoreError where error.code != .unavailable {
                outcomes.append(Outcome(finding: finding, told: "Not done: \(error.message)"))
            }
        }
        return outcomes
    }

    private func carryOut(
        _ fix: Finding.Fix, _ finding: Finding, _ books: StoreBooks, actor: String
    ) async throws -> (told: String, isMended: Bool) {
        switch fix {
        case .settle(let server, let epoch, let status, let isPaused, let note):
            try await store.observeGuest(server, epoch: epoch, status: status, isPaused: isPaused, note: note)
            let now = try await store.server(server.value)
            guard now.status == status, now.isPaused == isPaused else {
                return ("Not done: the server \(now.name) has moved on and is \(now.status.rawValue).", false)
            }
            return ("The server \(now.name) is \(status.rawValue)\(isPaused ? ", suspended," : "") by the store now.", true)
        case .clean(let server, let host, let migration, let attempt, let kind, let epoch):
            let cleanup = Cleanup(
                id: Identifier<Cleanup>.unique().value, kind: kind, migration: migration, server: server, host: host, attempt: attempt,
                epoch: epoch, dueAt: .now)
            guard try await store.orderCleanup(cleanup, actor: actor, why: finding.message) else {
                return ("Not done: it is to be removed already, or the migration is not over.", false)
            }
            return ("A worker removes it; godwit cleanup-list shows when that is not done yet.", true)
        case .clear(let server, let hostID, let storage, let epoch):
            guard let host = books.hosts.first(where: { $0.id == hostID }) else { return ("Not done: there is no such host.", false) }
            let placed = try await store.server(server.value)
            guard placed.epoch == epoch, placed.host != hostID else {
                return ("Not done: the server \(placed.name) has moved on.", false)
            }
            // Written down first, and the order under an epoch that nobody newer has passed.
            if let last = try await store.migrations(MigrationFilter(server: server, limit: 1)).first {
                try await store.noteRepair(last.id, actor: actor, why: finding.message)
            }
            try await agents.agent(of: host).clear(server, ClearOrder(epoch: epoch, storages: [storage]))
            return ("Removed from \(host.name).", true)
        case .release(let migration):
            let isDone = try await store.releaseLeaked(migration, actor: actor, why: finding.message)
            return isDone ? ("What it held is free.", true) : ("Not done: it holds nothing any more.", false)
        }
    }
}
