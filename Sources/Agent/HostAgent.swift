package import AgentAPI
import Attempts
import Failpoints
package import Fleet
import Foundation
import Guarding
package import Hypervisor
package import Logging
import Sharing
import Synchronization

/// The agent of one host: it alone touches QEMU and disks there.
///
/// QEMU outlives it: a new agent on the same state finds the guests and the migrations again.
package final class HostAgent: AgentOrders {
    let host: HostContext
    private let probe: HostProbe
    private let lock: ProcessLock
    let guests: Mutex<[ServerID: Guest]>
    private let patrol = Mutex<Task<Void, Never>?>(nil)
    /// How often it was told that the host is being shut down.
    private let shutdownsTold = Mutex(0)
    private let secondLine = Mutex<Task<Void, Never>?>(nil)
    let rehearsals = Errands()
    /// Rung when a server has become this host's.
    private let arrivals = Bell()
    /// How often owner records are read.
    private static let patrolInterval = Duration.seconds(2)

    /// Takes up the host's state.
    /// - Throws: ``AgentProblem`` when the configuration does not work, when another agent holds the state, or when a record cannot be read.
    package static func open(_ configuration: AgentConfiguration, logger: Logger) async throws -> HostAgent {
        try configuration.validate()
        let paths = HostPaths(configuration)
        for folder in [paths.state, paths.guests, paths.run] + configuration.storages.filter({ $0.kind == .local }).map(\.path) {
            try DurableFile.makeFolder(folder)
        }
        let lock = try await ProcessLock.take(paths.lock, holder: "another agent")
        try KernelProcess.announce(in: GuardFiles(paths).agent)
        // On a shared one another host may be at it.
        for storage in configuration.storages where storage.kind == .local {
            do {
                try BaseImages.removeDrafts(on: storage.path)
            } catch {
                logger.warning("drafts of base images stay", metadata: ["problem": "\(error)", "storage": "\(storage.name)"])
            }
        }
        let probe = HostProbe(configuration: configuration, logger: logger)
        let host = HostContext(
            configuration: configuration, paths: paths, qemu: try await probe.qemu(), images: DiskImages(qemuImg: configuration.qemuImg),
            peers: try AgentPool(tls: configuration.tls.mutualTLS),
            credentials: try StreamCredentials(folder: paths.credentials, files: configuration.tls),
            owners: OwnerDesk(host: configuration.name), guardFiles: GuardFiles(paths),
            certificates: try configuration.tls.mutualTLS.ends(), logger: logger)
        let agent = HostAgent(host: host, probe: probe, lock: lock)
        do {
            try await agent.restore()
        } catch {
            try await agent.close()
            throw error
        }
        return agent
    }

    private init(host: HostContext, probe: HostProbe, lock: ProcessLock) {
        self.host = host
        self.probe = probe
        self.lock = lock
        self.guests = Mutex([:])
    }

    private func restore() async throws {
        var standing: LeaseBook.Standing?
        do {
            standing = try host.guardFiles.readBook().standing(at: BootClock.now())
        } catch {
            // Until it can be read no marked guest is started at all.
            host.logger.error(
                "whether the lease of before the host was started is over cannot be read: its guests are not started again unasked",
                metadata: ["problem": "\(error)"])
        }
        for name in try FileManager.default.contentsOfDirectory(atPath: host.paths.guests).sorted() {
            let guest = try Guest(ServerID(name), host: host)
            guests.withLock { $0[guest.server] = guest }
            // An earlier agent may have known no marks. One that is there stays, whatever the storages are called now, until the guest is started.
            if let description = await guest.record.description, host.isMarked(description, guest.paths) {
                try GuestMark.set(true, guest.paths)
                // One that ran before the host was started anew is to be started again like those that the guard ended.
                if standing == .over(forMS: nil), await guest.record.desired == .running {
                    try Data().write(to: URL(fileURLWithPath: guest.paths.ended))
                }
            }
        }
        secondLine.withLock { $0 = Task { [weak self] in await self?.keepSecondLine() } }
        await withDiscardingTaskGroup { group in
            for guest in guests.withLock({ Array($0.values) }) { group.addTask { await guest.restore() } }
        }
        patrol.withLock { $0 = Task { [weak self] in await self?.keepPatrol() } }
    }

    /// Has every guest look whose it is, again and again. One that a storage holds up holds up no other.
    private func keepPatrol() async {
        await withDiscardingTaskGroup { group in
            while !Task.isCancelled {
                let rings = arrivals.rings
                await arrivals.wait(after: rings, until: .now.advanced(by: Self.patrolInterval))
                for guest in guests.withLock({ Array($0.values) }) { group.addTask { await guest.lookForOwner() } }
            }
        }
    }

    /// Ends the agent's work and leaves the guests running. Call it once, when no order is under way.
    package func close() async throws {
        let patrol = patrol.withLock { patrol in
            defer { patrol = nil }
            return patrol
        }
        patrol?.cancel()
        await patrol?.value
        let secondLine = secondLine.withLock { secondLine in
            defer { secondLine = nil }
            return secondLine
        }
        secondLine?.cancel()
        await secondLine?.value
        await rehearsals.end()
        let all = guests.withLock { guests in
            defer { guests = [:] }
            return Array(guests.values)
        }
        await withDiscardingTaskGroup { group in
            for guest in all { group.addTask { await guest.close() } }
        }
        try await host.peers.shutdown()
    }

    /// Keeps the address on which the agent is reached in its state folder.
    package func announce(_ address: String) throws {
        try DurableFile.write(Data("\(address)\n".utf8), to: host.paths.address, as: .address)
    }

    /// Ends every guest's QEMU at once, as if the power had been cut. For a host that is thrown away, such as a test's.
    package func endGuests() async throws {
        for guest in guests.withLock({ Array($0.values) }) { try await guest.endProcesses() }
    }

    func known(_ server: ServerID) throws -> Guest {
        guard let guest = guests.withLock({ $0[server] }) else {
            throw AgentProblem(.notFound, .invalidRequest, "server \(server) is not on host \(host.configuration.name)")
        }
        return guest
    }

    /// The guest, with a record begun where there was none: what an order binds to must be kept also for a server never seen.
    private func ensured(_ server: ServerID) throws -> Guest {
        let isPlain = (1...64).contains(server.value.utf8.count) && server.value.first != "." && server.value.first != "-"
        guard isPlain,
            server.value.unicodeScalars.allSatisfy({
                $0.isASCII && ($0.properties.isAlphabetic || ("0"..."9").contains($0) || "-_.".unicodeScalars.contains($0))
            })
        else {
            throw AgentProblem(.invalid, .invalidRequest, "\"\(server)\" cannot be a server's id: use up to 64 letters, digits, - and _")
        }
        if let guest = guests.withLock({ $0[server] }) { return guest }
        try DurableFile.makeFolder(host.paths.of(server).folder)
        try DurableFile.syncFolder(of: host.paths.of(server).folder)
        return try guests.withLock { guests in
            if let guest = guests[server] { return guest }
            let guest = try Guest(server, host: host)
            guests[server] = guest
            return guest
        }
    }

    /// Whoever asks takes a host that does not answer within a few seconds for one that is gone: no storage may take them all.
    static let storagePatience = Duration.seconds(2)

    package func host() async throws -> HostFacts {
        // Before anything else: what a controller makes of it must not end later here than there.
        let boot = try BootClock.now()
        async let looked = looks()
        async let guardian = guardReport()
        let all = guests.withLock { Array($0.values) }
        let summaries = await withTaskGroup(of: GuestSummary?.self) { group in
            for guest in all { group.addTask { await guest.summary() } }
            return await group.reduce(into: [GuestSummary]()) { list, summary in if let summary { list.append(summary) } }
        }
        let looks = await looked
        var (storages, troubles): ([Storage], [String]) = ([], [])
        for storage in host.configuration.storages {
            switch looks[storage.name] {
            case .success(let look): storages.append(look)
            case .failure(let error): troubles.append("storage \(storage.name) cannot be used: \(error)")
            case nil: break
            }
        }
        var facts = probe.facts(
            qemu: host.qemu, guests: summaries.sorted { $0.server.value < $1.server.value }, storages: storages)
        do {
            facts.kept = try await KeptGuests(host.paths).list()
        } catch {
            troubles.append("what failed attempts left here cannot be listed: \(error)")
        }
        facts.boot = boot
        do {
            let (report, trouble) = try await guardian
            facts.guardian = report
            if let trouble { troubles.append(trouble.reason.message) }
        } catch {
            troubles.append("how the host's guard stands cannot be read: \(error)")
        }
        var isShuttingDown = false
        do {
            isShuttingDown = try host.guardFiles.isShuttingDown()
        } catch {
            troubles.append("whether the host is being shut down cannot be read: \(error)")
        }
        facts.warnings += troubles
        if isShuttingDown {
            facts.isShuttingDown = true
            let times = shutdownsTold.withLock { times in
                times += 1
                return times
            }
            // Those before have been written down, or their controllers are gone.
            if times > 2 { try host.guardFiles.noteShutdownTold() }
        }
        facts.apiVersion = AgentVersion.current
        facts.hasUEFI = host.rules.firmwareFiles != nil
        facts.hasTPM = host.rules.hasTPMEmulator
        return facts
    }

    /// By name. A storage that hangs holds up none of the others.
    private func looks() async -> [String: Result<Storage, any Error>] {
        await withTaskGroup(of: (name: String, look: Result<Storage, any Error>).self) { group in
            for storage in host.configuration.storages {
                group.addTask {
                    do {
                        let look = try await self.host.owners.answer(of: storage.name, within: Self.storagePatience) {
                            try HostProbe.look(at: storage)
                        }
                        return (storage.name, .success(look))
                    } catch {
                        return (storage.name, .failure(error))
                    }
                }
            }
            return await group.reduce(into: [:]) { $0[$1.name] = $1.look }
        }
    }

    package func guest(_ server: ServerID) async throws -> GuestReport { try await known(server).report() }

    package func define(_ server: ServerID, _ order: DefineOrder) async throws -> GuestReport {
        guard order.description.server == server else {
            throw AgentProblem(
                .invalid, .invalidRequest, "the description is of server \(order.description.server), the order of \(server)")
        }
        return try await ensured(server).define(order)
    }

    package func start(_ server: ServerID, _ order: StartOrder) async throws -> GuestReport { try await known(server).start(order) }

    package func stop(_ server: ServerID, _ order: StopOrder) async throws -> GuestReport { try await known(server).stop(order) }

    package func pause(_ server: ServerID, _ order: PauseOrder) async throws -> GuestReport { try await known(server).pause(order) }

    package func setCDROM(_ server: ServerID, _ order: CDROMOrder) async throws -> GuestReport {
        try await known(server).setCDROM(order)
    }

    package func missingBases(_ needs: BaseNeeds) async throws -> BaseNeeds { try host.missingBases(needs) }

    package func delete(_ server: ServerID, _ order: DeleteOrder) async throws {
        let guest = try ensured(server)
        try await removingBases(of: guest) { try await guest.delete(order) }
    }

    /// With the last server that rests on a base image the image goes too. That it stays for a reason of its own fails no order.
    private func removingBases<Result>(of guest: Guest, _ body: () async throws -> Result) async throws -> Result {
        let before = await guest.record.description
        let result = try await body()
        guard await guest.record.tenure == .none else { return result }
        for disk in before?.disks ?? [] {
            guard let bases = disk.bases else { continue }
            do {
                let storage = try host.paths.storage(disk.storage)
                let removed = try await BaseImages.removeUnused(bases, on: storage) { await self.basesHeld(on: disk.storage) }
                if !removed.isEmpty {
                    host.logger.info("base images are removed", metadata: ["names": "\(removed)", "storage": "\(disk.storage)"])
                }
            } catch {
                host.logger.warning(
                    "base images stay that may be of no use", metadata: ["problem": "\(error)", "storage": "\(disk.storage)"])
            }
        }
        return result
    }

    /// What servers of this host's books rest on, also where their disks are still to be made.
    private func basesHeld(on storage: String) async -> Set<String> {
        var names: Set<String> = []
        for guest in guests.withLock({ Array($0.values) }) {
            let record = await guest.record
            for disk in [record.description, record.kept?.description].compactMap({ $0?.disks }).joined() where disk.storage == storage {
                names.formUnion((disk.bases ?? []).map(\.name))
            }
        }
        return names
    }

    package func prepare(_ server: ServerID, _ order: PrepareOrder) async throws -> IncomingReport {
        guard order.description.server == server else {
            throw AgentProblem(
                .invalid, .invalidRequest, "the description is of server \(order.description.server), the order of \(server)")
        }
        return try await ensured(server).prepare(order)
    }

    package func mirror(_ server: ServerID, _ order: MirrorOrder) async throws -> OutgoingReport { try await known(server).mirror(order) }

    package func sendMemory(_ server: ServerID, _ order: MemoryOrder) async throws -> OutgoingReport {
        try await known(server).sendMemory(order)
    }

    package func abort(_ server: ServerID, _ order: AbortOrder) async throws -> OutgoingReport { try await known(server).abort(order) }

    package func handOver(_ server: ServerID, _ order: HandoverOrder) async throws -> IncomingReport {
        let report = try await known(server).handOver(order)
        arrivals.ring()
        return report
    }

    package func refuse(_ server: ServerID, _ order: RefuseOrder) async throws -> IncomingReport { try await ensured(server).refuse(order) }

    package func discard(_ server: ServerID, _ order: DiscardOrder) async throws -> DiscardReport {
        let guest = try ensured(server)
        // What a target was given and does not need may be needed by the next try.
        guard order.end == .source else { return try await guest.discard(order) }
        return try await removingBases(of: guest) { try await guest.discard(order) }
    }

    package func prove(_ server: ServerID, _ order: ProofOrder) async throws -> ProofReport { try await ensured(server).prove(order) }

    package func adopt(_ server: ServerID, _ order: AdoptOrder) async throws -> GuestReport {
        guard order.description.server == server else {
            throw AgentProblem(
                .invalid, .invalidRequest, "the description is of server \(order.description.server), the order of \(server)")
        }
        return try await ensured(server).adopt(order)
    }

    package func deleteKept(_ id: String) async throws { try await KeptGuests(host.paths).delete(id) }

    package func lend(_ server: ServerID, _ order: LendOrder) async throws -> LoanReport { try await known(server).lend(order) }

    package func yield(_ server: ServerID, _ order: YieldOrder) async throws -> LoanReport { try await known(server).yield(order) }

    package func takeBack(_ server: ServerID, _ order: TakeBackOrder) async throws -> LoanReport {
        try await known(server).takeBack(order)
    }

    package func receive(_ server: ServerID, _ order: ReceiveOrder) async throws -> IncomingReport {
        guard order.description.server == server else {
            throw AgentProblem(
                .invalid, .invalidRequest, "the description is of server \(order.description.server), the order of \(server)")
        }
        return try await ensured(server).receive(order)
    }

    package func loan(_ server: ServerID, _ key: AttemptKey) async throws -> LoanReport { try await known(server).loanReport(key) }

    package func digests(_ server: ServerID, _ order: DigestOrder) async throws -> DigestReport {
        try await known(server).digests(order)
    }

    package func outgoing(_ server: ServerID, _ key: AttemptKey, seen: Int64, waitMS: Int64) async throws -> OutgoingReport {
        try await known(server).outgoingReport(key, seen: seen, waitMS: waitMS)
    }

    package func incoming(_ server: ServerID, _ key: AttemptKey, seen: Int64, waitMS: Int64) async throws -> IncomingReport {
        try await known(server).incomingReport(key, seen: seen, waitMS: waitMS)
    }
}
