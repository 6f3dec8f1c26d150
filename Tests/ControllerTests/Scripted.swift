import AgentAPI
import AgentFakes
import Fleet

/// Hosts whose agents live in memory and do as a test says.
final class ScriptedFleet: AgentDirectory {
    let agents: [String: ScriptedAgent]

    init(_ hosts: [String]) {
        self.agents = Dictionary(uniqueKeysWithValues: hosts.map { ($0, ScriptedAgent(host: $0)) })
    }

    subscript(_ host: String) -> ScriptedAgent {
        agents[host] ?? ScriptedAgent(host: host)
    }

    func agent(of host: Host) -> any AgentOrders { self[host.name] }
}

/// An agent that keeps its guests in memory, obeys epochs as a real one, writes down each order, and fails or waits where it is told to.
actor ScriptedAgent: PartialAgent {
    struct Guest: Equatable {
        var description: GuestDescription
        var status: GuestSummary.Status
        var epoch: Epoch
    }

    let name: String
    private(set) var guests: [ServerID: Guest] = [:]
    /// Every order that came in, in order: `define web1 1`, with the epoch.
    private(set) var orders: [String] = []
    var facts: HostFacts
    private var failures: [String: AgentProblem] = [:]
    private var hanging: Set<String> = []
    /// How many orders hang now.
    private(set) var waiting = 0

    init(host name: String) {
        self.name = name
        self.facts = HostFacts.sample()
    }

    /// What it measures of any guest, how fast a rehearsal goes, and the features of its QEMU's CPU; nil is refused.
    private var measured: MeasureReport?
    /// Names of the base images that it has.
    private var bases: Set<String> = []
    func has(_ base: String) { bases.insert(base) }
    private var rehearsed: RehearsalReport?
    private var features: [String] = []

    // MARK: the script

    func measures(_ report: MeasureReport?, rehearsal: RehearsalReport?) { (measured, rehearsed) = (report, rehearsal) }
    func has(features: [String]) { self.features = features }

    func fail(_ order: String, with problem: AgentProblem?) { failures[order] = problem }
    /// Orders of this kind wait, after they were written down, until they are cancelled or the test lets them go.
    func hang(_ order: String) { hanging.insert(order) }
    func letGo(_ order: String) { hanging.remove(order) }
    func change(_ change: @Sendable (inout HostFacts) -> Void) { change(&facts) }
    func set(_ server: ServerID, _ status: GuestSummary.Status?) {
        if let status { guests[server]?.status = status } else { guests[server] = nil }
    }
    func put(_ server: ServerID, _ guest: Guest) { guests[server] = guest }

    private func obey(_ order: String, _ server: ServerID? = nil, _ epoch: Epoch? = nil) async throws {
        if order != "host", order != "guest" {
            orders.append(
                [order, server.map { guests[$0]?.description.name ?? $0.value }, epoch.map(\.description)].compactMap(\.self).joined(
                    separator: " "))
        }
        waiting += 1
        defer { waiting -= 1 }
        while hanging.contains(order) { try await Task.sleep(for: .milliseconds(5)) }
        if let failure = failures[order] { throw failure }
        guard let server, let epoch, let guest = guests[server] else { return }
        guard epoch >= guest.epoch else {
            throw AgentProblem(.staleEpoch, .staleEpoch, "epoch \(epoch) is older than \(guest.epoch)")
        }
        guests[server]?.epoch = epoch
    }

    private func report(_ server: ServerID) throws -> GuestReport {
        guard let guest = guests[server] else { throw AgentProblem(.notFound, "not-found", "\(name) has no guest \(server)") }
        return GuestReport(
            summary: GuestSummary(server: server, status: guest.status, epoch: guest.epoch, pid: nil), description: guest.description,
            consoleLog: "/var/lib/godwit/\(name)/\(server)/console.log", warnings: [])
    }

    // MARK: AgentOrders

    /// What the guard is told, and whether there is one to obey.
    private var ended: Set<ServerID> = []
    /// The guest is ended by the guard.
    func end(_ server: ServerID) {
        guests[server]?.status = .stopped
        ended.insert(server)
    }
    private(set) var guardOrders: [GuardOrder] = []

    func obeyGuard(_ order: GuardOrder) async throws -> GuardReport {
        guardOrders.append(order)
        if let failure = failures["guard"] { throw failure }
        facts.guardian?.number = order.number
        facts.guardian?.isArmed = order.untilMS != nil
        facts.guardian?.isOver = false
        return facts.guardian ?? GuardReport(state: .absent)
    }

    func host() async throws -> HostFacts {
        try await obey("host")
        var facts = facts
        facts.guests = guests.map {
            GuestSummary(server: $0, status: $1.status, epoch: $1.epoch, pid: nil, endedByGuard: ended.contains($0) ? true : nil)
        }
        return facts
    }

    /// What its inventory tells; what its guests are when nil.
    private var told: Inventory?
    func tells(_ inventory: Inventory?) { told = inventory }

    func inventory() async throws -> Inventory {
        if let failure = failures["inventory"] { throw failure }
        if let told { return told }
        return Inventory(
            clock: .now,
            guests: guests.map { server, guest in
                let isThere = guest.status == .running || guest.status == .paused
                return GuestBook(
                    server: server, epoch: guest.epoch, tenure: .home, isWanted: isThere, pid: isThere ? 1 : nil,
                    runState: isThere ? guest.status.rawValue : nil)
            })
    }

    func clear(_ server: ServerID, _ order: ClearOrder) async throws {
        try await obey("clear", server, order.epoch)
    }

    func guest(_ server: ServerID) async throws -> GuestReport {
        try await obey("guest")
        return try report(server)
    }

    func define(_ server: ServerID, _ order: DefineOrder) async throws -> GuestReport {
        try await obey("define", server, order.epoch)
        var description = order.description
        if description.machine.isEmpty { description.machine = "pc-i440fx-7.2" }
        if description.cpuModel.isEmpty { description.cpuModel = "qemu64-v1" }
        if description.accelerator == .auto { description.accelerator = .tcg }
        description.memoryBytes += 8192
        for index in description.disks.indices where description.disks[index].sizeBytes == 0 {
            description.disks[index].sizeBytes = 1 << 30
        }
        for (name, path) in order.bases {
            guard let index = description.disks.firstIndex(where: { $0.name == name }) else { continue }
            let file = path.split(separator: "/").last?.split(separator: ".").first.map(String.init) ?? path
            description.disks[index].bases = [.init(name: file, format: .qcow2, sizeBytes: 1 << 30)]
        }
        guests[server] = Guest(description: description, status: .stopped, epoch: order.epoch)
        return try report(server)
    }

    func start(_ server: ServerID, _ order: StartOrder) async throws -> GuestReport {
        try await obey("start", server, order.epoch)
        guests[server]?.status = .running
        return try report(server)
    }

    func stop(_ server: ServerID, _ order: StopOrder) async throws -> GuestReport {
        try await obey("stop(\(order.graceMS))", server, order.epoch)
        guests[server]?.status = .stopped
        return try report(server)
    }

    func delete(_ server: ServerID, _ order: DeleteOrder) async throws {
        try await obey("delete", server, order.epoch)
        _ = try report(server)
        guests[server] = nil
    }

    func pause(_ server: ServerID, _ order: PauseOrder) async throws -> GuestReport {
        try await obey("pause(\(order.isPaused))", server, order.epoch)
        guests[server]?.status = order.isPaused ? .paused : .running
        return try report(server)
    }

    nonisolated var unknown: AgentProblem { AgentProblem(.failed, .agentError, "the controller never gives this order") }

    func missingBases(_ needs: BaseNeeds) async throws -> BaseNeeds {
        try await obey("missing-bases")
        return BaseNeeds(needs.needs.filter { !bases.contains($0.base.name) })
    }

    func measure(_ server: ServerID, _ order: MeasureOrder) async throws -> MeasureReport {
        try await obey("measure(\(order.watches))", server)
        guard let measured else { throw unknown }
        return measured
    }

    func cpuFeatures(_ server: ServerID) async throws -> CPUFeaturesReport {
        try await obey("cpu-features")
        return CPUFeaturesReport(features: features)
    }

    func checkCPU(_ order: CPUCheckOrder) async throws -> CPUCheckReport {
        try await obey("cpu-check")
        return CPUCheckReport(missing: order.features.filter { !features.contains($0) })
    }

    func awaitRehearsal(_ order: RehearsalOrder) async throws -> RehearsalPlace {
        try await obey("await-rehearsal(\(order.storage ?? "memory"))")
        return RehearsalPlace(address: "10.0.0.1", port: 7)
    }

    func rehearse(_ server: ServerID, _ order: RehearseOrder) async throws -> RehearsalReport {
        try await obey("rehearse(\(order.disk ?? "memory"))", server)
        guard let rehearsed else { throw unknown }
        return rehearsed
    }
}

extension HostFacts {
    /// A host of 4 CPUs, 8 GiB memory, a local and a shared storage, and the networks `default` and `lan`.
    static func sample(memoryMB: Int64 = 8192) -> HostFacts {
        HostFacts(
            architecture: "x86_64", cpuModel: "Test CPU @ 2.60GHz", microcode: "0x42e", kernel: "6.1.0", qemuVersion: "7.2.22",
            machineTypes: ["pc-i440fx-7.2", "pc-q35-7.2"], machineAliases: ["pc": "pc-i440fx-7.2", "q35": "pc-q35-7.2"],
            guestCPUModels: ["qemu64-v1"], accelerator: .tcg, warnings: ["KVM is not used: /dev/kvm runs no guest."], cpus: 4,
            memoryBytes: memoryMB << 20, pageSizeBytes: 4096,
            storages: [
                Storage(name: "local", kind: .local, capacityBytes: 100 << 30, freeBytes: 50 << 30),
                Storage(name: "spare", kind: .local, capacityBytes: 100 << 30, freeBytes: 20 << 30),
                Storage(name: "pool", kind: .shared, capacityBytes: 1 << 40, freeBytes: 1 << 39),
            ], networks: [Network(name: "default", kind: .user), Network(name: "lan", kind: .bridge)], guests: [])
    }
}

/// No connection, by whatever way.
let silence = AgentProblem(.unreachable, "unreachable", "no answer from the agent")
