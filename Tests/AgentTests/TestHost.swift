import AgentAPI
import AgentHTTP
import Fleet
import Foundation
import Identity
import Logging
import QMP
import ServiceLifecycle

@testable import Agent
@testable import Hypervisor

/// A place for hosts of one test, with an authority of its own. Everything goes when the body ends, guests first.
///
/// - Parameter apart: hosts whose storage `shared` is not the one that the others have under that name.
func withHosts(
    _ names: String..., networks: [AgentConfiguration.NetworkAttachment] = [.init(name: "default", kind: .user)],
    apart: Set<String> = [], body: ([TestHost]) async throws -> Void
) async throws {
    let folder = "/tmp/gwa-\(UInt32.random(in: .min ... .max))"
    try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(atPath: folder) }
    let authority = try CertificateAuthority(name: "test", validFor: .seconds(3600))
    try authority.certificatePEM.write(toFile: "\(folder)/ca.pem", atomically: true, encoding: .utf8)
    let hosts = try names.map { name in
        let shared = apart.contains(name) ? "\(folder)/\(name)-shared" : "\(folder)/shared"
        try FileManager.default.createDirectory(atPath: shared, withIntermediateDirectories: true)
        return try TestHost(name, folder: folder, shared: shared, networks: networks, authority: authority)
    }
    do {
        for host in hosts { try await host.start() }
        try await body(hosts)
    } catch {
        for host in hosts { try? await host.tearDown() }
        throw error
    }
    for host in hosts { try await host.tearDown() }
}

/// One host: a real agent behind a real socket, in this process.
final class TestHost: @unchecked Sendable {
    // The test that owns it starts, stops and asks it from one task at a time.
    let name: String
    let folder: String
    let configuration: AgentConfiguration
    private let authority: CertificateAuthority
    private(set) var agent: HostAgent!
    private(set) var url = ""
    private var pool: AgentPool!
    private var group: ServiceGroup!
    private var serving: Task<Void, any Error>!

    static let logger: Logger = {
        var logger = Logger(label: "test") { StreamLogHandler.standardError(label: $0) }
        logger.logLevel = ProcessInfo.processInfo.environment["GODWIT_TEST_LOG"].flatMap { Logger.Level(rawValue: $0) } ?? .critical
        return logger
    }()

    init(
        _ name: String, folder root: String, shared: String, networks: [AgentConfiguration.NetworkAttachment],
        authority: CertificateAuthority
    ) throws {
        self.name = name
        self.folder = "\(root)/\(name)"
        self.authority = authority
        let tls = try Self.issue(authority, "agent/\(name)", in: folder)
        self.configuration = AgentConfiguration(
            name: name, listen: .init(address: "127.0.0.1", port: 0), stateDirectory: "\(folder)/state", runDirectory: "\(folder)/run",
            storages: [.init(name: "local", path: "\(folder)/disks"), .init(name: "shared", path: shared, kind: .shared)],
            networks: networks, tls: tls,
            accelerator: .tcg)
    }

    private static func issue(
        _ authority: CertificateAuthority, _ commonName: String, in folder: String, validFor: Duration = .seconds(3600)
    ) throws -> AgentConfiguration.TLSFiles {
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        let base = "\(folder)/\(commonName.replacing("/", with: "-"))"
        let issued = try authority.issue(commonName: commonName, ipAddresses: ["127.0.0.1"], validFor: validFor)
        try issued.write(certificatePath: base + ".pem", keyPath: base + ".key")
        return .init(authority: "\((folder as NSString).deletingLastPathComponent)/ca.pem", certificate: base + ".pem", key: base + ".key")
    }

    /// A certificate of the hosts' authority for somebody.
    func certificate(_ commonName: String, validFor: Duration = .seconds(3600)) throws -> AgentConfiguration.TLSFiles {
        try Self.issue(authority, commonName, in: folder, validFor: validFor)
    }

    /// A client that shows a certificate of that name.
    func client(
        as commonName: String, version: Int = AgentVersion.current, validFor: Duration = .seconds(3600)
    ) throws -> (pool: AgentPool, agent: AgentClient) {
        let pool = try AgentPool(
            tls: try Self.issue(authority, commonName, in: folder, validFor: validFor).mutualTLS, version: version)
        return (pool, pool.agent(at: url))
    }

    /// The worker's client.
    var orders: AgentClient { pool.agent(at: url) }

    func start() async throws {
        agent = try await HostAgent.open(configuration, logger: Self.logger)
        let (addresses, told) = AsyncStream.makeStream(of: String.self)
        let server = try AgentServer.application(agent, configuration: configuration, logger: Self.logger) { address in
            told.yield(address)
            told.finish()
        }
        let group = ServiceGroup(configuration: .init(services: [.init(service: server)], logger: Self.logger))
        self.group = group
        serving = Task { try await group.run() }
        for await address in addresses { url = address }
        pool = try AgentPool(tls: try Self.issue(authority, "worker/w1", in: folder).mutualTLS)
    }

    /// Ends the agent and leaves the guests.
    func stop() async throws {
        guard agent != nil else { return }
        try await pool.shutdown()
        await group.triggerGracefulShutdown()
        try await serving.value
        try await agent.close()
        agent = nil
    }

    func tearDown() async throws {
        if agent == nil { try await start() }
        try await agent.endGuests()
        try await stop()
    }

    /// QEMU's monitor, while no agent has it.
    func withMonitor(of server: ServerID, _ body: (QMPClient) async throws -> Void) async throws {
        let client = try await QMPClient.connect(path: HostPaths(configuration).of(server).monitor)
        defer { client.close() }
        try await body(client)
    }

    func files(under path: String) -> [String] {
        (FileManager.default.enumerator(atPath: path)?.allObjects as? [String] ?? []).sorted()
    }
}

/// The test guest of `script/bootstrap`.
enum TestGuest {
    static let folder: String = {
        let environment = ProcessInfo.processInfo.environment
        if let told = environment["GODWIT_TEST_GUEST"] { return told }
        let cache = environment["GODWIT_CACHE"] ?? (environment["XDG_CACHE_HOME"] ?? "\(environment["HOME"] ?? "/root")/.cache") + "/godwit"
        return "\(cache)/guest"
    }()

    static func description(
        _ server: ServerID, memoryMB: Int64 = 96, disks: Int = 1, bus: DiskBus = .virtioBlk, firmware: Firmware = .bios,
        machine: String = "pc", storages: [String] = [], parameters: String = ""
    ) -> GuestDescription {
        GuestDescription(
            server: server, name: "test", vcpus: 1, memoryBytes: memoryMB << 20, cpuModel: "", machine: machine, accelerator: .auto,
            firmware: firmware,
            boot: DirectBoot(kernel: "\(folder)/vmlinuz", initrd: "\(folder)/initrd.gz", commandLine: "console=ttyS0 quiet " + parameters),
            disks: (0..<disks).map {
                .init(
                    name: "disk\($0)", sizeBytes: 256 << 20, format: .qcow2, bus: bus,
                    storage: storages.indices.contains($0) ? storages[$0] : "local")
            },
            cdrom: nil, nics: [.init(name: "nic0", network: "default", mac: "52:54:00:00:00:01")])
    }

    /// Its console's last tick line, by key.
    static func tick(_ console: String) -> [String: String]? {
        let text = (try? String(contentsOfFile: console, encoding: .utf8)) ?? ""
        guard let line = text.split(separator: "\r\n").last(where: { $0.hasPrefix("GODWIT tick=") && $0.contains(" sum=") }) else {
            return nil
        }
        return Dictionary(
            line.split(separator: " ").dropFirst().map { pair in
                let parts = pair.split(separator: "=", maxSplits: 1).map(String.init)
                return (parts[0], parts.count > 1 ? parts[1] : "")
            }
        ) { first, _ in first }
    }
}

/// Whether the process executes; a zombie that nobody reaps does not.
func isAlive(_ pid: Int32) -> Bool {
    guard let status = try? String(contentsOfFile: "/proc/\(pid)/stat", encoding: .utf8), let end = status.lastIndex(of: ")") else {
        return false
    }
    return !["Z", "X"].contains(status[end...].dropFirst(2).prefix(1))
}

/// Waits for a condition.
func eventually(
    _ what: String, within deadline: Duration = .seconds(180), _ condition: () async throws -> Bool
) async throws {
    let end = ContinuousClock.now.advanced(by: deadline)
    while try await !condition() {
        guard ContinuousClock.now < end else { throw TestFailure("\(what): not within \(deadline)") }
        try await Task.sleep(for: .milliseconds(20))
    }
}

struct TestFailure: Error, CustomStringConvertible {
    let description: String
    init(_ description: String) { self.description = description }
}

/// What the agent said when it did not do it; nil when it did.
func refusal(_ body: () async throws -> Void) async throws -> AgentProblem? {
    do {
        try await body()
        return nil
    } catch let problem as AgentProblem {
        return problem
    }
}
