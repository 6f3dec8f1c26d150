import Client
import Fleet
import Foundation
import NIOCore
import NIOPosix
import ServiceLifecycle
import Store
import Synchronization
import Testing

@testable import Controller

/// The client against a controller that really listens, over TLS on a port of the kernel's choice.
@Suite(.timeLimit(.minutes(1)))
struct ClientTests {
    /// Runs a whole controller (API, watch, operations) while the body does, and ends it gracefully.
    private func withListening(
        _ store: Store, _ fleet: ScriptedFleet, _ tls: TLSFiles, port: Int = 0, _ body: (String) async throws -> Void
    ) async throws {
        let watch = HostWatch.Timing(interval: .milliseconds(50), deadline: .seconds(5), validity: .seconds(10))
        let controller = try Fixture.controller(store, fleet, tls: tls, port: port, watch: watch)
        let (addresses, address) = AsyncStream.makeStream(of: String.self)
        var configuration = ServiceGroupConfiguration(
            services: try controller.services { address.yield($0) }, gracefulShutdownSignals: [], logger: Fixture.quiet)
        // Beyond this a stream that does not end would be cut off, and the test would not notice that it had to be.
        configuration.maximumGracefulShutdownDuration = .seconds(30)
        let group = ServiceGroup(configuration: configuration)
        try await withThrowingTaskGroup { tasks in
            tasks.addTask {
                defer { address.finish() }
                try await group.run()
            }
            do {
                for await url in addresses {
                    try await body(url)
                    break
                }
            } catch {
                await group.triggerGracefulShutdown()
                throw error
            }
            await group.triggerGracefulShutdown()
            try await tasks.waitForAll()
        }
    }

    private func with(
        _ body: (_ store: Store, _ fleet: ScriptedFleet, _ tls: TLSFiles, _ folder: String) async throws -> Void
    ) async throws {
        try await withStore { store, folder in
            let fleet = ScriptedFleet(["host1", "host2"])
            for name in ["host1", "host2"] { _ = try await store.registerHost(name: name, agentURL: "https://\(name):1") }
            try await body(store, fleet, try await TLSFiles.make(in: folder), folder)
        }
    }

    @Test func `every method of the client does what it says`() async throws {
        try await with { store, fleet, tls, _ in
            try await withListening(store, fleet, tls) { url in
                try await GodwitClient.with(url: url + "/", token: Fixture.token, caFile: tls.authority) { client in
                    #expect(try await client.health().status == "ok")
                    try await eventually("the hosts are online") {
                        try await client.hosts().items.filter { $0.status == .online }.count == 2
                    }
                    let created = try await client.createServer(
                        CreateServerRequest(
                            name: "web1", vcpus: 2, memoryMB: 64, boot: BootView(kernel: "/k", initrd: "/i", commandLine: "a=b"),
                            disks: [DiskRequest(sizeBytes: 1 << 20, format: .raw, bus: .virtioSCSI, storage: "pool")],
                            nics: [NICRequest(network: "lan", mac: "52:54:00:00:00:01")], preferHost: "host1"))
                    #expect(created.status == .ready)
                    #expect(created.boot == BootView(kernel: "/k", initrd: "/i", commandLine: "a=b"))
                    #expect(try await client.server("web1") == created)
                    #expect(try await client.servers(ListQuery(search: "web"), host: "host1", status: .ready).items.map(\.name) == ["web1"])
                    #expect(try await client.startServer(created.id).status == .running)
                    let migration = try await client.liveMigrate("web1", LiveMigrateRequest(preferHost: "host2", maxBandwidthMB: 5))
                    #expect(migration.options.preferHost?.name == "host2")
                    #expect(try await client.migration(migration.id) == migration)
                    #expect(
                        try await client.migrations(MigrationQuery(server: "web1", host: "host1", states: [.pending, .failed], limit: 1))
                            .items == [migration])
                    #expect(try await client.history(of: migration.id).items.map(\.to) == [.pending])
                    let sifted = MigrationQuery(modes: [.live], list: ListQuery(filters: ["server=web1", "mode!=cold"]))
                    #expect(try await client.migrations(sifted).items == [migration])
                    let params = SetLiveMigrateParamsRequest(maxBandwidthMB: 7, downtimeLimitMS: 50)
                    let changed = try await client.setLiveMigrateParams("web1", params)
                    #expect((changed.options.maxBandwidthMB, changed.options.downtimeLimitMS) == (7, 50))
                    #expect(try await client.cancelLiveMigrate("web1").reason?.code == .cancelled)
                    let again = try await client.liveMigrate("web1")
                    #expect(try await client.cancelMigration(again.id).reason?.code == .cancelled)
                    let twice = await #expect(throws: ClientError.self) { try await client.cancelMigration(again.id) }
                    #expect(twice?.problem?.code == "finished")
                    #expect(try await client.cleanups().items.isEmpty)
                    #expect(try await client.hosts(ListQuery(limit: 1, order: .desc)).items.map(\.name) == ["host2"])
                    #expect(try await client.hosts(status: .offline).items.isEmpty)
                    #expect(try await client.hosts(hypervisor: "esxi").total == 0)
                    #expect(try await client.disableHost("host2").enabled == false)
                    #expect(try await client.enableHost("host2").enabled)
                    let third = try await client.registerHost(RegisterHostRequest(name: "host3", agentURL: "https://h:1"))
                    #expect(third.name == "host3" && third.status == .offline, "nobody has asked it yet")
                    #expect(try await client.host("host3").id == third.id)

                    let other = try await client.createServer(CreateServerRequest(name: "web2", memoryMB: 64))
                    _ = try await client.startServer("web2")
                    #expect(try await client.stopServer("web2", StopServerRequest(graceMS: 0)).status == .ready)
                    let cold = try await client.migrate("web2", MigrateRequest(autoStart: true, maxBandwidthMB: 3))
                    #expect(cold.mode == .cold && cold.options.autoStart && cold.options.maxBandwidthMB == 3)
                    #expect(try await client.cancelMigration(cold.id).state == .failed)
                    try await client.deleteServer(other.id)
                    #expect(try await client.servers().items.map(\.name) == ["web1"])
                }
            }
        }
    }

    @Test func `a refusal comes as its problem, with odd names kept whole`() async throws {
        try await with { store, fleet, tls, _ in
            try await withListening(store, fleet, tls) { url in
                try await GodwitClient.with(url: url, token: Fixture.token, caFile: tls.authority) { client in
                    let error = await #expect(throws: ClientError.self) { try await client.server("no/such ü?&") }
                    #expect(error?.code == .problem)
                    #expect(error?.problem?.status == 404)
                    #expect(error?.message.contains("no/such ü?&") == true)
                    let listed = await #expect(throws: ClientError.self) { try await client.servers(host: "a&status=x b") }
                    #expect(listed?.problem?.detail.contains("a&status=x b") == true)
                }
                try await GodwitClient.with(url: url, token: "another-token-than-that", caFile: tls.authority) { client in
                    let error = await #expect(throws: ClientError.self) { try await client.servers() }
                    #expect(error?.problem?.code == "unauthorized")
                }
            }
        }
    }

    @Test func `a controller that is not there, or is another's, is named with the remedy`() async throws {
        try await with { store, fleet, tls, folder in
            let strange = try await TLSFiles.make(in: folder, named: "strange")
            let gone = Mutex("")
            try await withListening(store, fleet, tls) { url in
                gone.withLock { $0 = url }
                try await GodwitClient.with(url: url, token: Fixture.token, caFile: strange.authority) { client in
                    let error = await #expect(throws: ClientError.self) { try await client.servers() }
                    #expect(error?.code == .unreachable)
                    #expect(error?.message.contains("CA file") == true, "\(error?.message ?? "")")
                }
                // Plain HTTP where TLS is expected.
                let plain = url.replacingOccurrences(of: "https", with: "http")
                try await GodwitClient.with(url: plain, token: Fixture.token) { client in
                    _ = await #expect(throws: ClientError.self) { try await client.servers() }
                }
            }
            let url = gone.withLock(\.self)
            try await GodwitClient.with(url: url, token: Fixture.token, caFile: tls.authority) { client in
                let error = await #expect(throws: ClientError.self) { try await client.servers() }
                #expect(error?.code == .unreachable)
                #expect(
                    error?.message.contains(url) == true && error?.message.contains("Connection refused") == true, "\(error?.message ?? "")"
                )
            }
        }
    }

    @Test(arguments: ["", "127.0.0.1:7000", "ftp://a", "https://"])
    func `what is no address is refused before anything is sent`(url: String) {
        let error = #expect(throws: ClientError.self) { try GodwitClient(url: url, token: "t") }
        #expect(error?.code == .configuration)
    }

    @Test func `a token with a line break and a CA file that is none are refused`() {
        #expect(throws: ClientError.self) { try GodwitClient(url: "https://a", token: "a\r\nx: y") }
        let error = #expect(throws: ClientError.self) { try GodwitClient(url: "https://a", token: "t", caFile: "/nonexistent/ca.pem") }
        #expect(error?.message.contains("/nonexistent/ca.pem") == true)
    }

    @Test func `an order is carried out though the one who gave it has left`() async throws {
        try await with { store, fleet, tls, _ in
            try await withListening(store, fleet, tls) { url in
                try await GodwitClient.with(url: url, token: Fixture.token, caFile: tls.authority) { client in
                    try await eventually("the hosts are online") {
                        try await client.hosts().items.filter { $0.status == .online }.count == 2
                    }
                    _ = try await client.createServer(CreateServerRequest(name: "web1", memoryMB: 64, preferHost: "host1"))
                }
                let agent = fleet["host1"]
                await agent.hang("start")
                let impatient = Task {
                    try await GodwitClient.with(url: url, token: Fixture.token, caFile: tls.authority) { client in
                        _ = try await client.startServer("web1")
                    }
                }
                try await eventually("the start is under way") { await agent.orders.last == "start web1 2" }
                impatient.cancel()
                await #expect(throws: CancellationError.self) { try await impatient.value }
                await agent.letGo("start")
                try await eventually("it runs") { try await store.server("web1").status == .running }
                #expect(await agent.orders.filter { $0.hasPrefix("start") } == ["start web1 2"])
            }
        }
    }

    @Test func `a migration is watched to its end, and nothing is told twice`() async throws {
        try await with { store, fleet, tls, _ in
            try await withListening(store, fleet, tls) { url in
                let fixture = try await self.running(url, tls, store, fleet)
                try await GodwitClient.with(url: url, token: Fixture.token, caFile: tls.authority) { client in
                    var seen: [MigrationView] = []
                    for try await view in client.watchMigration(fixture.id) {
                        seen.append(view)
                        switch seen.count {
                        case 1: try await work(store) { ($0.state, $0.attempt) = (.scheduling, 1) }
                        case 2: try await work(store) { $0.awaiting = "a free slot" }
                        case 3: try await work(store) { $0.end() }
                        default: break
                        }
                    }
                    #expect(seen.map(\.state) == [.pending, .scheduling, .scheduling, .failed])
                    #expect(Set(seen).count == seen.count)
                }
            }
        }
    }

    @Test func `a watch outlives the controller it began with, and shutdown does not wait for it`() async throws {
        try await with { store, fleet, tls, _ in
            let (views, view) = AsyncStream.makeStream(of: MigrationView.self)
            var seen = views.makeAsyncIterator()
            var port = 0
            var id = ""
            var watcher: Task<Void, any Error>?
            try await withListening(store, fleet, tls) { url in
                port = Int(url.split(separator: ":").last ?? "") ?? 0
                id = try await self.running(url, tls, store, fleet).id
                let reference = id
                watcher = Task {
                    defer { view.finish() }
                    try await GodwitClient.with(url: url, token: Fixture.token, caFile: tls.authority) { client in
                        for try await one in client.watchMigration(reference) { view.yield(one) }
                    }
                }
                #expect(await seen.next()?.state == .pending)
            }
            // No controller listens now; a worker goes on.
            try await work(store) { ($0.state, $0.attempt) = (.scheduling, 1) }
            try await withListening(store, fleet, tls, port: port) { _ in
                #expect(await seen.next()?.state == .scheduling)
                try await work(store) { $0.end() }
                #expect(await seen.next()?.state == .failed)
                #expect(await seen.next() == nil)
            }
            try await watcher?.value
        }
    }

    @Test func `a watch gives up when no controller comes back in time`() async throws {
        try await with { store, fleet, tls, _ in
            let gone = Mutex("")
            try await withListening(store, fleet, tls) { url in gone.withLock { $0 = url } }
            try await GodwitClient.with(url: gone.withLock(\.self), token: Fixture.token, caFile: tls.authority) { client in
                let error = await #expect(throws: ClientError.self) {
                    for try await _ in client.watchMigration("m", reconnectingFor: .milliseconds(300)) {}
                }
                #expect(error?.code == .unreachable)
            }
        }
    }

    @Test func `a watch of what does not exist ends at once`() async throws {
        try await with { store, fleet, tls, _ in
            try await withListening(store, fleet, tls) { url in
                try await GodwitClient.with(url: url, token: Fixture.token, caFile: tls.authority) { client in
                    let error = await #expect(throws: ClientError.self) {
                        for try await _ in client.watchMigration("nosuch") {}
                    }
                    #expect(error?.problem?.status == 404)
                }
            }
        }
    }

    // MARK: helpers

    /// A running server with a migration submitted.
    private func running(_ url: String, _ tls: TLSFiles, _ store: Store, _ fleet: ScriptedFleet) async throws -> MigrationView {
        try await GodwitClient.with(url: url, token: Fixture.token, caFile: tls.authority) { client in
            try await eventually("the hosts are online") {
                try await client.hosts().items.filter { $0.status == .online }.count == 2
            }
            _ = try await client.createServer(CreateServerRequest(name: "web1", memoryMB: 64, preferHost: "host1"))
            _ = try await client.startServer("web1")
            return try await client.liveMigrate("web1")
        }
    }
}

/// As ``Fixture/work(_:)``, with only a store at hand.
private func work(_ store: Store, _ change: (inout Migration) -> Void) async throws {
    try await Fixture.work(store, change)
}

extension Migration {
    fileprivate mutating func end() {
        state = .failed
        reason = Reason(.noHost, "no host is left")
        finishedAt = .now
    }
}
