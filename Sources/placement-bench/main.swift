import Fleet
import Foundation
import Placement

/// Places servers among ten thousand hosts and prints what it took, as `script/bench placement` shows it. Argument: the number of hosts.
///
/// The hosts are of 40 kinds (CPU, kernel, QEMU, networks), a third of them unfit for the servers that are placed, none sharing a byte of
/// its facts with another, as when they come from the store; a tenth is offline, disabled or in maintenance.
let hostCount = CommandLine.arguments.dropFirst().first.flatMap { Int($0) } ?? 10_000
let gib: Int64 = 1 << 30
let now = Timestamp(milliseconds: 1_800_000_000_000)

func facts(_ kind: Int) -> HostFacts {
    HostFacts(
        architecture: "x86_64", cpuModel: "Intel(R) Xeon(R) Gold 63\(kind % 3)8 CPU @ 2.00GHz", microcode: "0xd0003b\(kind % 3)",
        kernel: "6.1.0-4\(kind % 2)-amd64", qemuVersion: "7.2.2\(kind % 4)",
        machineTypes: (0..<24).flatMap { ["pc-i440fx-\($0 / 10 + 5).\($0 % 10)", "pc-q35-\($0 / 10 + 5).\($0 % 10)"] },
        machineAliases: ["pc": "pc-i440fx-7.2", "q35": "pc-q35-7.2"],
        guestCPUModels: ["qemu64-v1"] + (0..<100).map { "Model\($0)-v\($0 % 5)" }, accelerator: .kvm, warnings: [], cpus: 64,
        memoryBytes: 512 * gib, pageSizeBytes: 4096,
        storages: [
            Storage(name: "local", kind: .local, capacityBytes: 8000 * gib, freeBytes: 7500 * gib),
            Storage(name: "pool", kind: .shared, capacityBytes: 80_000 * gib, freeBytes: 60_000 * gib),
        ],
        networks: (0..<5).map { Network(name: "lan\($0 + kind % 5)", kind: .bridge) }, guests: [])
}

func load(_ number: Int) -> HostLoad {
    let kind = Int.random(in: 0..<40)
    let state = Int.random(in: 0..<30)
    let host = Host(
        id: HostID("host-\(number)-\(UUID().uuidString.lowercased())"), name: "host" + String(format: "%05d", number),
        agentURL: "https://10.0.0.1:7070", enabled: state != 0, maintenance: state == 1,
        slots: MigrationSlots(inbound: 1000, outbound: 1_000_000),
        healthyUntil: Timestamp(milliseconds: now.milliseconds + (state == 2 ? -1 : 10_000)), facts: facts(kind))
    return HostLoad(
        host: host, vcpusTaken: Int.random(in: 0..<500), memoryTakenBytes: Int64.random(in: 0..<480) * gib,
        storagePromisedBytes: ["local": Int64.random(in: 1500..<5500) * gib], inboundMigrations: Int.random(in: 0..<2),
        recentFailures: Int.random(in: 0..<100) == 0 ? 1 : 0)
}

func request(_ number: Int, _ source: HostLoad) -> PlacementRequest {
    let server = ServerID("server-\(number)")
    let description = GuestDescription(
        server: server, name: "vm\(number)", vcpus: 1 + number % 4, memoryBytes: Int64(1 + number % 8) * gib, cpuModel: "qemu64-v1",
        machine: "pc-i440fx-7.2", accelerator: .kvm, firmware: .bios, boot: nil,
        disks: [.init(name: "disk0", sizeBytes: 10 * gib, format: .qcow2, bus: .virtioBlk, storage: "local")], cdrom: nil,
        nics: [.init(name: "nic0", network: source.host.facts?.networks.last?.name ?? "lan0", mac: "52:54:00:00:00:01")])
    return PlacementRequest(server: server, description: description, source: source.host.id, mode: .live)
}

func milliseconds(_ duration: Duration) -> Double {
    Double(duration.components.attoseconds) / 1e15 + Double(duration.components.seconds) * 1e3
}
func figure(_ name: String, _ value: Double, _ unit: String, aim: Double) {
    let shown = String(format: "%.3f", value)
    print("figure \(name) \(shown) \(unit) aim <= \(aim) \(value <= aim ? "met" : "short")")
}

let clock = ContinuousClock()
let loads = (0..<hostCount).map(load)
let sources = loads.filter { $0.host.facts != nil }

// One server, nothing known beforehand: what a worker does with what it has just read from the store.
var cold: [Double] = []
for number in 0..<50 {
    let wanted = request(number, sources[number * 37 % sources.count])
    cold.append(
        milliseconds(
            clock.measure {
                guard case .chosen = Placement.choose(wanted, among: loads, now: now) else { fatalError("no host was found") }
            }))
}
cold.sort()

/// What it takes to find that no host can take a server, milliseconds: the medians of twenty.
struct Refused {
    let cause: String
    /// Until every host has its reason, and a worker what it stores: the table as a person reads it, and whether waiting would help.
    var decided = 0.0
    /// The words of all rows beside, which only a forecast shows.
    var told = 0.0

    init(for cause: String, _ change: (inout PlacementRequest) -> Void) {
        self.cause = cause
        var (decisions, tales): ([Double], [Double]) = ([], [])
        for number in 0..<20 {
            var hopeless = request(number, sources[number * 37 % sources.count])
            change(&hopeless)
            var failure: PlacementFailure?
            decisions.append(
                milliseconds(
                    clock.measure {
                        guard case .rejected(let all) = Placement.choose(hopeless, among: loads, now: now), all.count == loads.count
                        else { fatalError("a host was found") }
                        let table = PlacementFailure(server: hopeless.description.name, rejections: all)
                        guard table.waitsFor == nil, !table.message.isEmpty else { fatalError("nothing told") }
                        failure = table
                    }))
            tales.append(
                milliseconds(
                    clock.measure {
                        guard let failure, failure.ordered.allSatisfy({ !$0.wanted.isEmpty && !$0.found.isEmpty })
                        else { fatalError("a host without words") }
                    }))
        }
        decided = decisions.sorted()[decisions.count / 2]
        told = tales.sorted()[tales.count / 2]
    }
}
let refusals = [
    Refused(for: "its machine type") { $0.description.machine = "pc-i440fx-4.2" },
    Refused(for: "its memory") { $0.description.memoryBytes = 1024 * gib },
    Refused(for: "its disk") { $0.description.disks[0].sizeBytes = 7000 * gib },
]

// Ten thousand, one after the other, each knowing of those before.
var fleet = FleetSnapshot(loads)
var placed = 0
let placements = 10_000
let took = clock.measure {
    for number in 0..<placements {
        let wanted = request(number, sources[number * 7919 % sources.count])
        guard case .chosen(let host) = Placement.choose(wanted, in: fleet, now: now) else { continue }
        let needs = Needs(wanted.description, storages: [])
        fleet.hold(needs.reservation(of: MigrationID("m\(number)"), on: host), from: wanted.source)
        placed += 1
    }
}

print("hosts \(hostCount)")
print(
    "one server, from what the store gives: median \(String(format: "%.3f", cold[cold.count / 2])) ms, best \(String(format: "%.3f", cold[0])) ms, worst \(String(format: "%.3f", cold[cold.count - 1])) ms"
)
for refused in refusals {
    print(
        "one server that no host can take for \(refused.cause), with each host's reason: median \(String(format: "%.3f", refused.decided)) ms; the words of all rows \(String(format: "%.3f", refused.told)) ms more"
    )
}
print(
    "\(placements) servers in a row, each reserved before the next: \(String(format: "%.3f", milliseconds(took) / 1000)) s, \(placed) placed"
)
figure("placement-one", cold[cold.count / 2], "ms", aim: 5)
figure("placement-none", refusals.map(\.decided).max() ?? .infinity, "ms", aim: 5)
figure("placement-10000", milliseconds(took) / 1000, "s", aim: 10)
