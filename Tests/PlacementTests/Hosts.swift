import Fleet
import Placement
import Testing

let gib: Int64 = 1 << 30
let now = Timestamp(milliseconds: 1_000_000)

func facts(_ change: (inout HostFacts) -> Void = { _ in }) -> HostFacts {
    var facts = HostFacts(
        architecture: "x86_64", cpuModel: "Xeon E5-2650 v2", microcode: "0x42e", kernel: "6.1.0-40-amd64", qemuVersion: "7.2.22",
        machineTypes: ["pc-i440fx-7.2", "pc-q35-7.2"], machineAliases: ["pc": "pc-i440fx-7.2"],
        guestCPUModels: ["qemu64-v1", "EPYC-v4"], accelerator: .kvm, warnings: [], cpus: 16, memoryBytes: 64 * gib,
        pageSizeBytes: 4096, storages: [Storage(name: "local", kind: .local, capacityBytes: 500 * gib, freeBytes: 200 * gib)],
        networks: [Network(name: "lan", kind: .bridge)], guests: [])
    change(&facts)
    return facts
}

func load(
    _ name: String, vcpus: Int = 0, memory: Int64 = 0, reserved: [String: Int64] = [:], promised: [String: Int64] = [:],
    inbound: Int = 0, outbound: Int = 0, failures: Int = 0, enabled: Bool = true, maintenance: Bool = false, online: Bool = true,
    overcommit: Overcommit = .standard, change: (inout HostFacts) -> Void = { _ in }
) -> HostLoad {
    let host = Host(
        id: HostID("id-\(name)"), name: name, agentURL: "https://\(name):7070", enabled: enabled, maintenance: maintenance,
        overcommit: overcommit, healthyUntil: Timestamp(milliseconds: now.milliseconds + (online ? 1 : 0)), facts: facts(change))
    return HostLoad(
        host: host, vcpusTaken: vcpus, memoryTakenBytes: memory, storageReservedBytes: reserved, storagePromisedBytes: promised,
        inboundMigrations: inbound, outboundMigrations: outbound, recentFailures: failures)
}

func request(
    mode: Mode = .live, options: MigrationOptions = MigrationOptions(), excluded: [HostID: Reason] = [:],
    companions: [GroupCompanion] = [], missing: [HostID: [String]] = [:], change: (inout GuestDescription) -> Void = { _ in }
) -> PlacementRequest {
    var description = GuestDescription(
        server: "vm1", name: "vm1", vcpus: 4, memoryBytes: 8 * gib, cpuModel: "qemu64-v1", machine: "pc-i440fx-7.2",
        accelerator: .kvm, firmware: .bios, boot: nil,
        disks: [.init(name: "disk0", sizeBytes: 40 * gib, format: .qcow2, bus: .virtioBlk, storage: "local")], cdrom: nil,
        nics: [.init(name: "nic0", network: "lan", mac: "52:54:00:00:00:01")])
    change(&description)
    return PlacementRequest(
        server: "vm1", description: description, source: "id-source", mode: mode, options: options, excluded: excluded,
        companions: companions, missingFeatures: missing)
}

/// Why none of the hosts is chosen.
func rejections(_ request: PlacementRequest = request(), among loads: [HostLoad]) throws -> Rejections {
    let outcome = Placement.choose(request, among: loads, now: now)
    guard case .rejected(let rejections) = outcome else { throw Chosen(outcome: outcome) }
    return rejections
}

struct Chosen: Error {
    let outcome: PlacementOutcome
}

/// The rejection of the one host beside the source; nil when it is chosen.
func rejection(_ request: PlacementRequest, _ target: HostLoad, source: HostLoad = load("source")) -> Rejection? {
    switch Placement.choose(request, among: [source, target], now: now) {
    case .chosen(let host):
        #expect(host == target.host.id)
        #expect(Placement.choose(request, in: FleetSnapshot([source, target]), now: now) == .chosen(host))
        return nil
    case .rejected(let rejections):
        #expect(rejections.map(\.host) == [source.host.id, target.host.id], "every host must be told of")
        #expect(rejections.first?.filter == .notSource)
        return rejections.last
    }
}

func expect(_ rejection: Rejection?, _ filter: PlacementFilter, _ wanted: String, _ found: String) {
    #expect(rejection == Rejection(host: "id-target", name: "target", filter: filter, wanted: wanted, found: found))
}
