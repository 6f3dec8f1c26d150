import AgentAPI
import Fleet

@testable import Diagnosis

/// A fleet of two hosts with one server, all of it as it should be, to be spoilt by a test.
struct Scene {
    static let now = Timestamp(milliseconds: 1_800_000_000_000)
    var before: StoreBooks
    var after: StoreBooks
    var inventories: [HostID: Inventory]
    var skewMS: [HostID: Int64] = [:]
    var silent: [HostID: String] = [:]
    var certificates: [CertificateEnd] = []

    static let home: HostID = "h1"
    static let other: HostID = "h2"
    static let web: ServerID = "web-id"

    init(_ status: ServerStatus = .running) {
        let hosts = [("h1", "host1"), ("h2", "host2")].map { id, name in
            Host(
                id: HostID(id), name: name, agentURL: "https://\(name):7070", enabled: true, healthyUntil: Self.now + .seconds(10),
                facts: nil)
        }
        let server = Server(
            id: Self.web, name: "web", status: status, host: Self.home, epoch: Epoch(5),
            description: GuestDescription(
                server: Self.web, name: "web", vcpus: 1, memoryBytes: 1 << 28, cpuModel: "qemu64", machine: "pc-q35-7.2",
                accelerator: .tcg, firmware: .bios, boot: nil, disks: [], cdrom: nil, nics: []), note: nil, createdAt: Self.now)
        before = StoreBooks(now: Self.now, hosts: hosts, servers: [server])
        after = StoreBooks(now: Self.now + .seconds(1), hosts: hosts, servers: [server])
        let book = GuestBook(
            server: Self.web, epoch: Epoch(5), tenure: .home, isWanted: status == .running, pid: status == .running ? 100 : nil,
            runState: status == .running ? "running" : nil)
        inventories = [
            Self.home: Inventory(clock: Self.now, guests: [book], entries: [Self.entry(Self.web.value, on: "host1")]),
            Self.other: Inventory(clock: Self.now),
        ]
    }

    static func entry(_ name: String, on host: String, kind: Storage.Kind = .local, isKept: Bool = false) -> StorageEntry {
        StorageEntry(
            storage: kind == .local ? "local" : "nfs", kind: kind, name: name, path: kind == .local ? "/\(host)/\(name)" : "/nfs/\(name)",
            bytes: 5 << 20, isKept: isKept)
    }

    /// Changes what the store says, before and after the look.
    mutating func store(_ change: (inout StoreBooks) -> Void) {
        change(&before)
        change(&after)
    }

    mutating func server(_ change: (inout Server) -> Void) {
        store { change(&$0.servers[0]) }
    }

    mutating func book(_ host: HostID = Scene.home, _ change: (inout GuestBook) -> Void) {
        if let index = inventories[host]?.guests.firstIndex(where: { $0.server == Self.web }) {
            inventories[host]?.guests.remove(at: index)
            var book = GuestBook(server: Self.web, epoch: Epoch(5), tenure: .home, isWanted: true, pid: 100, runState: "running")
            change(&book)
            inventories[host]?.guests.append(book)
        } else {
            var book = GuestBook(server: Self.web, epoch: Epoch(4), tenure: .none)
            change(&book)
            inventories[host]?.guests.append(book)
        }
    }

    func migration(_ state: MigrationState, target: HostID? = Scene.other, source: HostID = Scene.home) -> Migration {
        Migration(
            id: "m1", server: Self.web, mode: .live, options: MigrationOptions(), state: state, epoch: Epoch(4), attempt: 1, source: source,
            target: target, actor: "ada", createdAt: Self.now, dueAt: Self.now, finishedAt: state.isFinished ? Self.now : nil)
    }

    static let key = AttemptKey(migration: "m1", attempt: 1)

    var look: Look {
        var sights: [HostID: Look.Sight] = [:]
        for (host, inventory) in inventories { sights[host] = .seen(inventory, skewMS: skewMS[host] ?? 0) }
        for (host, why) in silent { sights[host] = .silent(why) }
        return Look(before: before, hosts: sights, after: after, certificates: certificates)
    }

    var findings: [Finding] { Diagnosis.findings(of: look) }
    var kinds: [Finding.Kind] { findings.map(\.kind) }
}
