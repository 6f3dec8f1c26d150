import Client
import Fleet
import Foundation
import Synchronization
import Testing

/// A fleet whose hosts are namespaces: each with processes, mounts and network of its own, joined by a bridge for management and migration
/// and by another for the guests' network, on which a client outside watches them. Everything has a name of this fleet's own and ends with
/// it, and with the process that made it.
///
/// ```
///   control: controller, workers, command line       observer: the client outside
///     10.77.0.1 on bridge mgmt                          10.88.0.1
///        |          |          |                            |
///      host1      host2      host3  --- bridge lan in control
///   10.77.0.11       .12        .13    (each host: its own bridge lan, uplink to control's)
/// ```
final class NetFleet: TestFleet {
    let work: URL
    let programs: URL
    let guest: URL
    let control: Namespace
    let observer: Namespace
    let guestNetwork = "lan"
    private let state: Mutex<State>

    private struct State {
        var hosts: [String: Namespace] = [:]
        var daemons: [String: Spawned] = [:]
        /// The guests' names in the order in which they were met: what addresses and ports are made of.
        var guests: [String] = []
    }

    static let agentPort = 7070
    static let echoPort = 7000
    static let streamPort = 7001
    static let workers = ["w1", "w2"]
    private static let url = "https://10.77.0.1:7000"

    let hostNames: [String]
    let environment: [String: String]
    /// What `--store` says.
    let store: FleetStore
    /// How long a worker's claim lasts unless renewed; the product's own where nil.
    let leaseMS: Int64?
    /// By which all daemons are told what is to happen at which failure point.
    var failpointFolder: String { path("failpoints") }
    var commandPrefix: [String] { control.command() }

    private init(work: URL, hosts: Int, leaseMS: Int64?) async throws {
        self.work = work
        self.leaseMS = leaseMS
        programs = try Self.programFolder()
        guest = try TestGuest.folder()
        hostNames = (1...hosts).map { "host\($0)" }
        environment = [
            "GODWIT_URL": Self.url, "GODWIT_TOKEN": UUID().uuidString, "GODWIT_CACERT": work.appending(path: "ca/ca.pem").path,
        ]
        store = try await FleetStore(in: work.appending(path: "control").path)
        control = try await Namespace("control")
        do {
            observer = try await Namespace("observer")
        } catch {
            control.end()
            throw error
        }
        state = Mutex(State())
    }

    // MARK: one life

    /// Makes a fleet, runs the body, ends it all and checks that nothing stayed behind.
    static func run<T: Sendable>(hosts: Int = 2, leaseMS: Int64? = nil, _ body: @Sendable (NetFleet) async throws -> T) async throws -> T {
        try await Leftovers.remove()
        let work = URL(filePath: "/tmp/\(Leftovers.prefix)\(UUID().uuidString.prefix(8).lowercased())")
        let claim = try Leftovers.Claim(work)
        defer { withExtendedLifetime(claim) {} }
        let fleet = try await NetFleet(work: work, hosts: hosts, leaseMS: leaseMS)
        do {
            try await fleet.assemble()
            let value = try await body(fleet)
            try await fleet.disband()
            return value
        } catch {
            fleet.tell()
            try await fleet.abandon()
            throw error
        }
    }

    private func assemble() async throws {
        for folder in ["log", "observer", "control", "shared", "failpoints"] { try makeFolder(folder) }
        try await control.ip("link add mgmt type bridge")
        try await control.ip("addr add 10.77.0.1/24 dev mgmt")
        try await control.ip("link set mgmt up")
        try await control.ip("link add lan type bridge")
        try await control.ip("link set lan up")
        try await control.ip("link add observer type veth peer name lan netns \(observer.pid)")
        try await control.ip("link set observer master lan up")
        try await observer.ip("addr add 10.88.0.1/24 dev lan")
        try await observer.ip("link set lan up")

        try await succeed(programs.appending(path: "godwit").path, "ca-create", path("ca"))
        try await certify("controller/c1", address: "10.77.0.1", into: "control")
        for worker in Self.workers { try await certify("worker/\(worker)", into: "control") }
        try Data((environment["GODWIT_TOKEN", default: ""] + "\n").utf8).write(to: work.appending(path: "control/tokens"))
        for host in hostNames {
            for folder in ["state", "run", "local", "tls"] { try makeFolder("\(host)/\(folder)") }
            try await certify("agent/\(host)", address: address(of: host), into: "\(host)/tls")
            try FileManager.default.copyItem(atPath: path("ca/ca.pem"), toPath: path("\(host)/tls/ca.pem"))
            try configure(host)
        }
        // Side by side: each agent tries the machine's accelerator first, for some seconds.
        try await withThrowingTaskGroup { group in
            for host in hostNames { group.addTask { try await self.powerOn(host) } }
            try await group.waitForAll()
        }
        try await startController()
        for worker in Self.workers { try await startWorker(worker) }
        for host in hostNames {
            let answer = try await godwit("host-register", host, "https://\(address(of: host)):\(Self.agentPort)")
            guard answer.status == 0 else { throw Failure("host-register \(host): \(answer.error)") }
        }
        try await online(hostNames)
    }

    func online(_ names: [String]) async throws {
        try await eventually("\(names) online", within: .seconds(60)) {
            Set(try await hosts().filter { $0.status == .online }.map(\.name)).isSuperset(of: names)
        }
    }

    /// Ends all of it in order; then nothing may be left.
    private func disband() async throws {
        let daemons = state.withLock { $0.daemons }
        for (name, _) in daemons {
            for pid in try pids(of: name) { kill(pid, SIGTERM) }
        }
        for (name, daemon) in daemons {
            do { try await daemon.ended(within: .seconds(20)) } catch { Issue.record("\(name) does not end when asked") }
        }
        let left = try Processes.mentioning(work.path).filter { process in
            ["qemu", "swtpm", "godwit"].contains { process.arguments[0].contains($0) }
        }
        #expect(left.isEmpty, "left behind by the hosts: \(left)")
        try await abandon()
    }

    /// Ends all of it at once.
    private func abandon() async throws {
        for host in state.withLock({ Array($0.hosts.values) }) { host.end() }
        observer.end()
        control.end()
        try await store.remove()
        try await eventually("every process of \(work.path) is gone", within: .seconds(20)) {
            try Processes.mentioning(work.path).isEmpty
        }
        try FileManager.default.removeItem(at: work)
    }

    /// What the processes said is the only witness of what went wrong.
    func tell() {
        let folder = work.appending(path: "log")
        for log in (try? FileManager.default.contentsOfDirectory(at: folder, includingPropertiesForKeys: nil)) ?? [] {
            guard let data = FileManager.default.contents(atPath: log.path), !data.isEmpty else { continue }
            print("---- \(log.lastPathComponent)\n\(String(decoding: data.suffix(5000), as: UTF8.self))")
        }
    }

    // MARK: places

    func path(_ name: String) -> String { work.appending(path: name).path }

    func makeFolder(_ name: String) throws {
        try FileManager.default.createDirectory(at: work.appending(path: name), withIntermediateDirectories: true)
    }

    func address(of host: String) -> String { "10.77.0.1\(host.drop { !$0.isNumber })" }

    /// A guest's address on the guests' network, and the port to which it beats.
    func place(of name: String) -> (address: String, beatPort: Int) {
        let number = state.withLock { state in
            if let known = state.guests.firstIndex(of: name) { return known }
            state.guests.append(name)
            return state.guests.count - 1
        }
        return ("10.88.0.\(10 + number)", 9000 + number)
    }

    func networkParameters(of recipe: GuestRecipe) -> String {
        let place = place(of: recipe.name)
        return " godwit.ip=\(place.address)/24 godwit.gateway=none godwit.echo=\(Self.echoPort)"
            + (recipe.quiet ? "" : " godwit.stream=\(Self.streamPort) godwit.beat=10.88.0.1:\(place.beatPort)")
    }

    func disks(of server: String, on host: String) throws -> [URL] {
        try (files(in: "\(host)/local/\(server)") + files(in: "shared/\(server)")).filter { $0.lastPathComponent.hasPrefix("disk") }
    }

    /// Files of a folder and its folders; none where it is not there.
    func files(in folder: String) throws -> [URL] {
        let all = FileManager.default.enumerator(at: work.appending(path: folder), includingPropertiesForKeys: [.isRegularFileKey])
        return try (all?.compactMap { $0 as? URL } ?? []).filter {
            try $0.resourceValues(forKeys: [.isRegularFileKey]).isRegularFile == true
        }
    }

    // MARK: hosts

    func host(_ name: String) throws -> Namespace {
        guard let host = state.withLock({ $0.hosts[name] }) else { throw Failure("\(name) is off") }
        return host
    }

    func isOn(_ name: String) -> Bool { state.withLock { $0.hosts[name] != nil } }

    /// Switches a host on: its namespace, its links, its agent.
    func powerOn(_ name: String, agent: Bool = true) async throws {
        let host = try await Namespace(name)
        state.withLock { $0.hosts[name] = host }
        for (link, bridge) in [("\(name)-m", "mgmt"), ("\(name)-l", "lan")] {
            try await control.ip("link add \(link) type veth peer name \(bridge == "lan" ? "uplink" : bridge) netns \(host.pid)")
            try await control.ip("link set \(link) master \(bridge) up")
        }
        // A host that comes back has the card that it had: others still know it by that.
        try await host.ip("link set mgmt address 02:67:77:00:00:\(address(of: name).split(separator: ".").last ?? "01")")
        try await host.ip("addr add \(address(of: name))/24 dev mgmt")
        try await host.ip("link set mgmt up")
        try await host.ip("link add lan type bridge")
        try await host.ip("link set lan up")
        try await host.ip("link set uplink master lan up")
        if agent {
            try await startGuard(name)
            try await startAgent(name)
        }
    }

    /// Cuts a host's power: every process on it is gone at once, guests too; its files stay.
    func powerOff(_ name: String) async throws {
        try host(name).end()
        state.withLock { state in
            state.hosts[name] = nil
            state.daemons[name] = nil
            state.daemons[Self.guardian(of: name)] = nil
        }
        try await eventually("the links of \(name) are gone", within: .seconds(20)) {
            let links = try await control.ip("-o link show")
            return !links.contains("\(name)-m@") && !links.contains("\(name)-l@")
        }
    }

    /// Takes a host off the management network, by which it is also migrated, or puts it back.
    func cut(_ name: String, _ isCut: Bool = true) async throws {
        try await control.ip("link set \(name)-m \(isCut ? "nomaster" : "master mgmt")")
    }

    /// Bytes that a host has put on the management network since it was switched on.
    func sentBytes(by name: String) async throws -> Int64 {
        struct Link: Decodable {
            struct Statistics: Decodable { var rx: Counter }
            struct Counter: Decodable { var bytes: Int64 }
            var stats64: Statistics
        }
        let text = try await control.ip("-j -s link show \(name)-m")
        guard let link = try JSONDecoder().decode([Link].self, from: Data(text.utf8)).first else { throw Failure("no link of \(name)") }
        return link.stats64.rx.bytes
    }

    // MARK: daemons

    func certify(_ name: String, address: String? = nil, into folder: String, by authority: String = "ca") async throws {
        let answer = try await execute(
            [programs.appending(path: "godwit").path, "ca-issue", path(authority), "--name", name, "--into", path(folder)]
                + (address.map { ["--address", $0] } ?? []))
        guard answer.status == 0 else { throw Failure("ca-issue \(name): \(answer.error)") }
    }

    /// Writes a host's configuration. Its certificate and those of its own storages are its alone; `shared` is the same folder for all.
    private func configure(_ host: String) throws {
        let text = """
            name: \(host)
            listen: \(address(of: host)):\(Self.agentPort)
            stateDirectory: \(path("\(host)/state"))
            runDirectory: \(path("\(host)/run"))
            storages:
              - {name: local, path: \(path("\(host)/local"))}
              - {name: shared, path: \(path("shared")), kind: shared}
            networks:
              - {name: lan, kind: bridge, bridge: lan}
            tls:
              authority: \(path("\(host)/tls/ca.pem"))
              certificate: \(path("\(host)/tls/agent-\(host).pem"))
              key: \(path("\(host)/tls/agent-\(host)-key.pem"))

            """
        try Data(text.utf8).write(to: work.appending(path: "\(host)/agent.yaml"))
    }

    /// Gives a host a certificate of an authority that nobody knows, or its own again, and starts its agent with it.
    func disguise(_ host: String, _ isForeign: Bool = true) async throws {
        if isForeign { try await succeed(programs.appending(path: "godwit").path, "ca-create", path("foreign")) }
        try await certify("agent/\(host)", address: address(of: host), into: "\(host)/tls", by: isForeign ? "foreign" : "ca")
        if isForeign { try FileManager.default.removeItem(atPath: path("foreign")) }
        if try !pids(of: host).isEmpty { try await slay(host) }
        try await startAgent(host)
    }

    /// - Parameter wrapper: a program that becomes the agent, with its arguments.
    func startAgent(_ host: String, through wrapper: [String] = []) async throws {
        try await start(
            host, in: try self.host(host), "godwit-agent", ["--config", path("\(host)/agent.yaml")], sign: "listening ", through: wrapper)
    }

    /// What the guard of a host is called among the daemons.
    static func guardian(of host: String) -> String { "guard-\(host)" }

    func startGuard(_ host: String) async throws {
        try await start(
            Self.guardian(of: host), in: try self.host(host), "godwit-guard", ["--config", path("\(host)/agent.yaml")], sign: "ready ")
    }

    /// Seconds after which a host's guests end when no controller has heard of it; it is certain 15 s later.
    static let hostLease = 8

    func startController() async throws {
        let pem = path("control/controller-c1.pem")
        let key = path("control/controller-c1-key.pem")
        try await start(
            "controller", in: control, "godwit-controller",
            [
                "--store", store.location, "--listen", "10.77.0.1:7000", "--token-file", path("control/tokens"),
                "--tls-cert", pem, "--tls-key", key, "--ca", path("ca/ca.pem"), "--cert", pem, "--key", key, "--name", "c1",
                "--host-lease", String(Self.hostLease),
            ], sign: "listening ")
    }

    func startWorker(_ name: String) async throws {
        try await start(
            name, in: control, "godwit-worker",
            [
                "--store", store.location, "--name", name, "--ca", path("ca/ca.pem"), "--cert",
                path("control/worker-\(name).pem"), "--key", path("control/worker-\(name)-key.pem"),
            ] + (leaseMS.map { ["--lease-ms", String($0)] } ?? []), sign: "ready ")
    }

    private func start(
        _ name: String, in place: Namespace, _ program: String, _ arguments: [String], sign: String, through wrapper: [String] = []
    ) async throws {
        let log = work.appending(path: "log/\(name).log")
        let before = FileManager.default.contents(atPath: log.path)?.count ?? 0
        let points = ["env", "GODWIT_FAILPOINTS_FOLDER=\(failpointFolder)"]
        let daemon = try Spawned(place.command() + points + wrapper + [programs.appending(path: program).path] + arguments, log: log)
        state.withLock { $0.daemons[name] = daemon }
        try await eventually("\(program) \(name) is up", within: .seconds(30)) {
            let said = String(decoding: (FileManager.default.contents(atPath: log.path) ?? Data()).dropFirst(before), as: UTF8.self)
            guard daemon.isRunning else { throw Failure("\(program) \(name) ended: \(said)") }
            return said.split(separator: "\n").contains { $0.hasPrefix(sign) }
        }
    }

    /// Pids of a daemon: a host's name for its agent, a worker's name, `controller`.
    func pids(of daemon: String) throws -> [Int32] {
        let (program, word) = marks(of: daemon)
        return try Processes.mentioning(word).filter { $0.arguments.first == program }.map(\.pid)
    }

    /// What a daemon runs, and what stands on its command line alone and on that of what it was started through.
    func marks(of daemon: String) -> (program: String, word: String) {
        let (program, word) =
            daemon.hasPrefix("guard-")
            ? ("godwit-guard", path("\(daemon.dropFirst("guard-".count))/agent.yaml"))
            : hostNames.contains(daemon)
                ? ("godwit-agent", path("\(daemon)/agent.yaml"))
                : daemon == "controller"
                    ? ("godwit-controller", path("control/tokens")) : ("godwit-worker", path("control/worker-\(daemon).pem"))
        return (programs.appending(path: program).path, word)
    }

    /// `kill -9` of a daemon; nothing starts it again by itself.
    func slay(_ daemon: String) async throws {
        let victims = try pids(of: daemon)
        #expect(!victims.isEmpty, "no \(daemon) runs")
        for pid in victims { kill(pid, SIGKILL) }
        try await eventually("\(daemon) is gone", within: .seconds(10)) { try pids(of: daemon).isEmpty }
        _ = state.withLock { $0.daemons.removeValue(forKey: daemon) }
    }

    /// Starts a daemon that does not run.
    func revive(_ daemon: String) async throws {
        if daemon.hasPrefix("guard-") {
            try await startGuard(String(daemon.dropFirst("guard-".count)))
        } else if hostNames.contains(daemon) {
            try await startAgent(daemon)
        } else if daemon == "controller" {
            try await startController()
        } else {
            try await startWorker(daemon)
        }
    }

    // MARK: between tests

    /// Brings the fleet back to where it began, whatever a test did: all links, hosts and daemons there, no server.
    func restore() async throws {
        let guards = hostNames.map(Self.guardian(of:))
        for daemon in hostNames + guards + ["controller"] + Self.workers { try thaw(daemon) }
        for host in hostNames {
            if state.withLock({ $0.hosts[host] }) == nil { try await powerOn(host) }
            try await cut(host, false)
        }
        for daemon in guards + hostNames + ["controller"] + Self.workers where try pids(of: daemon).isEmpty { try await revive(daemon) }
        try await endObservers()
        try await online(hostNames)
        for host in try await hosts() where host.autoMigrateOnHostDown {
            _ = try await godwit(
                "host-auto-migrate-on-host-down", "--auto-migrate-on-host-down", "disable", "--auto-migrate-on-host-shutdown", "disable",
                host.id)
        }
        try await eventually("no host's guard is counted on", within: .seconds(60)) {
            try await hosts().allSatisfy { $0.guardian == .serving }
        }
        for server in try await decode([ServerView].self, "server-list") {
            try await eventually("server \(server.name) is deleted", within: .seconds(120)) {
                _ = try await godwit("server-stop", server.id, "--force")
                let answer = try await godwit("server-delete", server.id)
                return answer.status == 0 || answer.error.contains("no server")
            }
        }
    }
}
