package import AgentAPI
import Client
import Fleet
package import Logging
import ServiceLifecycle
package import Store

/// Creates, starts, stops and deletes servers.
///
/// Each is an intent that the store holds (a status with a holder and a lease) before the agent hears of it, and the order to the agent
/// is an *ensure* call under the server's new epoch. When a controller dies in between, its lease ends and another one, or the same
/// started again, sees the intent through: that is what ``run()`` does.
package struct Operations: Service {
    let store: Store
    let agents: any AgentDirectory
    /// This process; no two are ever named alike.
    let owner: String
    let log: Logger
    let timing: Timing

    package struct Timing: Sendable {
        /// How long an operation is held without being renewed; renewed at a third.
        package var lease: Duration
        /// How often operations without a holder are looked for.
        package var interval: Duration
        /// How long a guest may take to obey its power button when nothing else was asked for.
        package var grace: Duration

        package init(lease: Duration = .seconds(15), interval: Duration = .seconds(2), grace: Duration = .seconds(15)) {
            self.lease = lease
            self.interval = interval
            self.grace = grace
        }
    }

    /// - Parameter name: The controller's.
    package init(store: Store, agents: any AgentDirectory, name: String, log: Logger, timing: Timing = Timing()) {
        self.store = store
        self.agents = agents
        self.owner = "controller/\(name)/\(Identifier<Operations>.unique())"
        self.log = log
        self.timing = timing
    }

    private var leaseMS: Int64 { timing.lease.inMilliseconds }

    // MARK: what is asked for

    /// - Throws: ``Problem``, ``StoreError``, ``AgentProblem``. Nothing is left of the server then, on the host or in the store, unless the
    ///   agent gave no answer: in that case the server stays `deploying` until it does.
    func create(_ request: ServerRequest) async throws -> Server {
        let group = try await group(of: request)
        let companions = if let group { try await store.companions(inGroup: group.id.value) } else { [GroupCompanion]() }
        var wanted: HostID?
        if let reference = request.preferHost { wanted = try await store.host(reference, field: "prefer_host").id }
        let (loads, now) = try await store.hostLoadsNow()
        let candidates = try candidates(request, on: wanted, among: loads, at: now, companions)
        let macs = try await macs(of: request.spec)
        var server: Server?
        for load in candidates {
            do {
                server = try await store.createServer(draft(request.spec, macs, on: load), owner: owner, leaseMS: leaseMS, group: group?.id)
                break
            } catch let error as StoreError where error.code == .overbooked {
                log.info("a host filled up meanwhile", metadata: ["host": "\(load.host.name)", "server": "\(request.spec.name)"])
            } catch let error as StoreError where error.code == .nameTaken {
                throw Problem.conflict(
                    "name-taken", "There is a server named \(request.spec.name) already; choose another name.", field: "name")
            }
        }
        guard let server else {
            throw Problem.conflict("overbooked", "Every host that had room for \(request.spec.name) was filled meanwhile; try again.")
        }
        var order = DefineOrder(epoch: server.epoch, description: server.description)
        for (disk, asked) in zip(server.description.disks, request.spec.disks) {
            order.images[disk.name] = asked.image
            order.bases[disk.name] = asked.base
        }
        return try await deploy(server, order)
    }

    func start(_ reference: String) async throws -> Server {
        let known = try await store.server(reference)
        if known.status == .running, known.isPaused {
            throw Problem.conflict("wrong-status", "The server \(known.name) is suspended; resume it with server-resume.")
        }
        let server = try await begin(reference, .starting, from: [.ready], so: "it must be ready to be started")
        return try await carryOut(server)
    }

    /// - Parameter grace: Until the guest is ended, if it does not obey its power button.
    func stop(_ reference: String, grace: Duration?) async throws -> Server {
        let known = try await store.server(reference)
        if known.status == .running, known.isPaused, grace != .zero {
            throw Problem.conflict(
                "wrong-status",
                "The server \(known.name) is suspended and cannot hear its power button; resume it first, or cut its power with --force.")
        }
        let server = try await begin(reference, .stopping, from: [.running], so: "it must be running to be stopped")
        return try await carryOut(server, grace: grace)
    }

    /// Has the guest's vCPUs stand still, or execute again.
    func pause(_ reference: String, _ isPaused: Bool) async throws -> Server {
        let server = try await store.server(reference)
        if server.status != .running, !server.status.isOperation, !server.status.isMigration {
            throw Problem.conflict(
                "wrong-status",
                "The server \(server.name) is \(server.status.rawValue); it must be running to be \(isPaused ? "suspended" : "resumed").")
        }
        try await requireOnline(server)
        let begun = try await store.beginPause(server.id)
        let host = try await store.host(begun.host.value)
        do {
            _ = try await agents.agent(of: host).pause(begun.id, PauseOrder(epoch: begun.epoch, isPaused: isPaused))
        } catch let problem as AgentProblem where problem.kind == .unreachable {
            throw Problem(
                status: 504, code: "unreachable",
                "The host \(host.name) gave no answer; whether \(begun.name) is suspended is shown once it does.")
        }
        try await store.observeGuest(begun.id, epoch: begun.epoch, status: .running, isPaused: isPaused, note: nil)
        return try await store.server(begun.id.value)
    }

    func delete(_ reference: String) async throws {
        let server = try await begin(reference, .deleting, from: [.ready], so: "it must be ready (off) to be deleted; stop it first")
        _ = try await carryOut(server)
    }

    private func begin(
        _ reference: String, _ status: ServerStatus, from: Set<ServerStatus>, so remedy: String
    ) async throws -> Server {
        let server = try await store.server(reference)
        // Tells a wrong status in words that name the remedy; the store checks again, in its transaction.
        if !from.contains(server.status), !server.status.isOperation, !server.status.isMigration {
            throw Problem.conflict("wrong-status", "The server \(server.name) is \(server.status.rawValue); \(remedy).")
        }
        try await requireOnline(server)
        return try await store.beginOperation(server.id, status, from: from, owner: owner, leaseMS: leaseMS)
    }

    /// An intent that nobody can obey now would bind the server until the host is back.
    private func requireOnline(_ server: Server) async throws {
        let host = try await store.host(server.host.value)
        guard host.isOnline(at: try await store.now()) else {
            throw Problem(
                status: 503, code: "host-offline",
                "The host \(host.name) of the server \(server.name) does not answer; try again when it is online.")
        }
    }

    // MARK: seeing through

    /// Has the agent do what the server's status says is under way, and ends the operation.
    private func carryOut(_ server: Server, grace: Duration? = nil) async throws -> Server {
        let host = try await store.host(server.host.value)
        let agent = agents.agent(of: host)
        do {
            try await holding(server) {
                switch server.status {
                case .starting:
                    _ = try await agent.start(server.id, StartOrder(epoch: server.epoch))
                case .stopping:
                    let grace = grace ?? timing.grace
                    _ = try await agent.stop(server.id, StopOrder(epoch: server.epoch, graceMS: grace.inMilliseconds))
                default:
                    do {
                        try await agent.delete(server.id, DeleteOrder(epoch: server.epoch))
                    } catch let problem as AgentProblem where problem.kind == .notFound {
                        log.info("a server to be deleted was not on its host", metadata: describe(server, on: host))
                    }
                }
            }
        } catch let problem as AgentProblem where problem.kind == .unreachable {
            throw unanswered(server, host, problem)
        } catch let problem as AgentProblem {
            let back: ServerStatus = server.status == .stopping ? .running : .ready
            try await store.finishOperation(server.id, epoch: server.epoch, status: back, note: problem.reason)
            throw problem
        }
        switch server.status {
        case .starting: return try await finish(server, .running, isPaused: false)
        case .stopping: return try await finish(server, .ready, isPaused: false)
        default:
            try await store.removeServer(server.id, epoch: server.epoch)
            return server
        }
    }

    private func finish(_ server: Server, _ status: ServerStatus, isPaused: Bool? = nil) async throws -> Server {
        try await store.finishOperation(server.id, epoch: server.epoch, status: status, isPaused: isPaused, note: nil)
        return try await store.server(server.id.value)
    }

    private func deploy(_ server: Server, _ order: DefineOrder) async throws -> Server {
        let host = try await store.host(server.host.value)
        let agent = agents.agent(of: host)
        let report: GuestReport
        do {
            report = try await holding(server) {
                try await agent.define(server.id, order)
            }
        } catch let problem as AgentProblem where problem.kind == .unreachable {
            throw unanswered(server, host, problem)
        } catch let problem as AgentProblem {
            try await abandon(server, agent)
            throw problem
        }
        for warning in report.warnings { log.warning("\(warning)", metadata: describe(server, on: host)) }
        return try await settle(server, report, agent)
    }

    /// Keeps what the agent made of the description.
    private func settle(_ server: Server, _ report: GuestReport, _ agent: any AgentOrders) async throws -> Server {
        do {
            try await store.updateDescription(server.id, epoch: server.epoch, report.description)
        } catch let error as StoreError where error.code == .overbooked {
            try await abandon(server, agent)
            throw error
        }
        return try await finish(server, .ready)
    }

    private func abandon(_ server: Server, _ agent: any AgentOrders) async throws {
        do {
            try await agent.delete(server.id, DeleteOrder(epoch: server.epoch))
        } catch let problem as AgentProblem where problem.kind == .notFound {
            log.debug("nothing was left to be removed", metadata: ["server": "\(server.name)"])
        }
        try await store.removeServer(server.id, epoch: server.epoch)
    }

    /// A deploying that its controller did not finish: the images it was to copy are known to nobody any more, so it is kept if the agent
    /// has it defined, and else removed.
    private func adopt(_ server: Server) async throws {
        let host = try await store.host(server.host.value)
        let agent = agents.agent(of: host)
        try await holding(server) {
            do {
                let report = try await agent.guest(server.id)
                _ = try await settle(server, report, agent)
                log.notice("completed a server that another controller began", metadata: describe(server, on: host))
            } catch let problem as AgentProblem where problem.kind == .notFound {
                try await abandon(server, agent)
                log.notice("removed a server that another controller left unfinished", metadata: describe(server, on: host))
            }
        }
    }

    /// The intent stands: its lease ends, and then it is tried again.
    private func unanswered(_ server: Server, _ host: Host, _ problem: AgentProblem) -> Problem {
        log.warning("no answer from an agent", metadata: describe(server, on: host).merging(["error": "\(problem)"]) { old, _ in old })
        let outcome = server.status == .deploying ? "is completed or removed" : "is seen through"
        return Problem(
            status: 504, code: "unreachable",
            "The host \(host.name) gave no answer; the server \(server.name) stays \(server.status.rawValue), which \(outcome) once it does."
        )
    }

    /// Runs the body while the operation's lease is renewed. Ends the body when somebody else has taken the operation over.
    private func holding<T: Sendable>(_ server: Server, _ body: @escaping @Sendable () async throws -> T) async throws -> T {
        try await withThrowingTaskGroup(of: T?.self) { group in
            group.addTask { try await body() }
            group.addTask {
                try await keepHolding(server)
                return nil
            }
            defer { group.cancelAll() }
            while let result = try await group.next() {
                if let result { return result }
            }
            throw CancellationError()
        }
    }

    /// Throws ``StoreError`` `superseded` when it is lost.
    private func keepHolding(_ server: Server) async throws {
        while true {
            // Two renewals may fail before it is lost.
            try await Task.sleep(for: timing.lease / 3)
            do {
                try await store.renewOperation(server.id, epoch: server.epoch, leaseMS: leaseMS)
            } catch let error as StoreError where error.code == .unavailable {
                log.warning("an operation could not be renewed", metadata: ["server": "\(server.name)", "error": "\(error)"])
            }
        }
    }

    // MARK: taking over

    /// Sees operations through whose controller died, until shut down.
    package func run() async throws {
        try await untilShutdown {
            while true {
                await takeOver()
                // Looked for: nothing tells that a lease ends unrenewed.
                try await Task.sleep(for: timing.interval)
            }
        }
    }

    /// One round. Operations that fail again stay where they are or end with a note; none holds up another.
    func takeOver() async {
        do {
            let orphans = try await store.claimOperations(owner: owner, leaseMS: leaseMS, limit: 16)
            await withDiscardingTaskGroup { group in
                for server in orphans { group.addTask { await self.seeThrough(server) } }
            }
        } catch {
            log.error("operations could not be claimed", metadata: ["error": "\(error)"])
        }
    }

    private func seeThrough(_ server: Server) async {
        log.notice("taking an operation over", metadata: ["server": "\(server.name)", "status": "\(server.status.rawValue)"])
        do {
            if server.status == .deploying {
                try await adopt(server)
            } else {
                _ = try await carryOut(server)
            }
        } catch {
            log.warning(
                "an operation could not be seen through",
                metadata: ["server": "\(server.name)", "status": "\(server.status.rawValue)", "error": "\(error)"])
        }
    }

    private func describe(_ server: Server, on host: Host) -> Logger.Metadata {
        ["server": "\(server.name)", "id": "\(server.id)", "host": "\(host.name)", "status": "\(server.status.rawValue)"]
    }
}

// MARK: placing a new server

extension Operations {
    private func group(of request: ServerRequest) async throws -> ServerGroup? {
        guard let reference = request.group else { return nil }
        do {
            return try await store.group(reference)
        } catch let error as StoreError where error.code == .notFound {
            throw Problem.notFound(error.message, field: "group")
        }
    }

    private func candidates(
        _ request: ServerRequest, on wanted: HostID?, among loads: [HostLoad], at now: Timestamp, _ companions: [GroupCompanion]
    ) throws -> [HostLoad] {
        let spec = request.spec
        var considered = loads
        if let wanted { considered = loads.filter { $0.host.id == wanted } }
        if considered.isEmpty {
            throw Problem.conflict("no-host", "There is no host yet to put \(spec.name) on; register one.")
        }
        try refuseUnknown(spec, among: loads)
        let choice = HostChoice(for: spec, among: considered, at: now, companions: companions)
        if choice.fit.isEmpty {
            let reasons = choice.unfit.map { "\($0.host) \($0.why)" }.joined(separator: "; ")
            throw Problem.conflict(
                "no-host", "No host can take \(spec.name): \(reasons).", field: request.preferHost.map { _ in "prefer_host" })
        }
        return choice.fit
    }

    /// A network or storage that no host has is rather misspelt than out of room. Said only when every host's are known.
    private func refuseUnknown(_ spec: ServerSpec, among loads: [HostLoad]) throws {
        let facts = loads.compactMap(\.host.facts)
        guard facts.count == loads.count else { return }
        let networks = Set(facts.flatMap { $0.networks.map(\.name) })
        for (index, nic) in spec.nics.enumerated() where !networks.contains(nic.network) {
            let known = networks.sorted().joined(separator: ", ")
            throw Problem.notFound("There is no network \(nic.network) on any host; known are: \(known).", field: "nics[\(index)].network")
        }
        let storages = Set(facts.flatMap { $0.storages.map(\.name) })
        for (index, disk) in spec.disks.enumerated() {
            guard let storage = disk.storage, !storages.contains(storage) else { continue }
            let known = storages.sorted().joined(separator: ", ")
            throw Problem.notFound("There is no storage \(storage) on any host; known are: \(known).", field: "disks[\(index)].storage")
        }
    }

    /// The server as it is asked of the agent, which fills in what is left open: an empty CPU model or machine is the agent's default, the
    /// accelerator `auto` its choice, a disk size of 0 the image's.
    private func draft(_ spec: ServerSpec, _ macs: [String], on load: HostLoad) -> Server {
        let storages = HostChoice.storages(for: spec, on: load) ?? []
        let disks = zip(spec.disks, storages).enumerated().map { index, pair in
            GuestDescription.Disk(
                name: "disk\(index)", sizeBytes: pair.0.sizeBytes ?? 0, format: pair.0.format, bus: pair.0.bus, storage: pair.1)
        }
        let nics = zip(spec.nics, macs).enumerated().map { index, pair in
            GuestDescription.NIC(name: "nic\(index)", network: pair.0.network, mac: pair.1)
        }
        let id = ServerID.unique()
        return Server(
            id: id, name: spec.name, status: .deploying, host: load.host.id, epoch: .none,
            description: GuestDescription(
                server: id, name: spec.name, vcpus: spec.vcpus, memoryBytes: spec.memoryMB << 20, cpuModel: spec.cpuModel ?? "",
                machine: spec.machine ?? "", accelerator: spec.accelerator, firmware: spec.firmware, boot: spec.boot, disks: disks,
                cdrom: spec.cdrom, tpm: spec.tpm, nics: nics), note: nil, createdAt: .now)
    }

    /// An address for each nic: the one asked for, or a fresh one; none that another server has.
    private func macs(of spec: ServerSpec) async throws -> [String] {
        guard !spec.nics.isEmpty else { return [] }
        var owners: [String: String] = [:]
        for server in try await store.servers(ServerFilter()) {
            for nic in server.description.nics { owners[nic.mac] = server.name }
        }
        for (index, nic) in spec.nics.enumerated() {
            guard let mac = nic.mac, let owner = owners[mac] else { continue }
            let field = "nics[\(index)].mac"
            throw Problem.conflict(
                "name-taken", "\(field) is \(mac), which a nic of the server \(owner) has; choose another.", field: field)
        }
        var taken = Set(owners.keys).union(spec.nics.compactMap(\.mac))
        var generator = SystemRandomNumberGenerator()
        return spec.nics.map { nic in
            if let mac = nic.mac { return mac }
            while true {
                let mac = MACAddress(using: &generator).description
                if taken.insert(mac).inserted { return mac }
            }
        }
    }
}

extension ServerStatus {
    /// A migration is on its way or at work.
    var isMigration: Bool {
        switch self {
        case .startMigrate, .migrating, .liveMigrating: true
        case .deploying, .ready, .starting, .running, .stopping, .deleting: false
        }
    }
}
