import Backends
import Fleet
import Store
import Testing

@Suite struct HostDownTests {
    /// What an agent tells whose guard serves.
    private func facts(
        _ state: GuardReport.State = .serving, armed: Bool = false, over: Bool = false, number: Int64 = 0, boot: Int64 = 1000
    ) -> HostFacts {
        var facts = HostFacts.sample()
        facts.boot = BootTime(bootID: "b1", milliseconds: boot)
        facts.guardian = GuardReport(state: state, number: number, isArmed: armed, isOver: over)
        return facts
    }

    /// A host that is guarded, and offline.
    private func dead(_ store: Store, _ name: String = "one") async throws -> (host: Host, lease: Int64) {
        let host = try await store.addHost(name)
        _ = try await store.setAutoMigration(of: host.id, onHostDown: true, onHostShutdown: nil)
        let order = try #require(try await store.recordHealth(of: host.id, facts: facts(), validForMS: 0))
        try await store.confirmGuard(of: host.id, number: order.number)
        return (try await store.host(name), order.number)
    }

    @Test(arguments: Backend.available)
    func `shutdown needs down, whichever is set first`(_ backend: Backend) async throws {
        try await withStore(backend) { store in
            let host = try await store.addHost("one")
            #expect(host.autoMigration == AutoMigration())
            func set(_ down: Bool?, _ shutdown: Bool?) async throws -> AutoMigration {
                try await store.setAutoMigration(of: host.id, onHostDown: down, onHostShutdown: shutdown).autoMigration
            }
            await refusal(.wrongStatus) { try await set(nil, true) }
            await refusal(.wrongStatus) { try await set(false, true) }
            #expect(try await set(true, nil) == AutoMigration(onHostDown: true))
            #expect(try await set(nil, true) == AutoMigration(onHostDown: true, onHostShutdown: true))
            await refusal(.wrongStatus) { try await set(false, nil) }
            #expect(try await set(false, false) == AutoMigration())
            #expect(try await set(true, true) == AutoMigration(onHostDown: true, onHostShutdown: true))
            await refusal(.notFound) { try await store.setAutoMigration(of: "nowhere", onHostDown: true, onHostShutdown: nil) }
        }
    }

    @Test(arguments: Backend.available)
    func `a lease stands in the store before it is given, and counts once it is confirmed`(_ backend: Backend) async throws {
        try await withStore(backend) { store in
            let host = try await store.addHost("one")
            #expect(try await store.recordHealth(of: host.id, facts: facts(), validForMS: 0) == nil, "nobody wants it")
            _ = try await store.setAutoMigration(of: host.id, onHostDown: true, onHostShutdown: nil)
            #expect(try await store.recordHealth(of: host.id, facts: facts(.absent), validForMS: 0) == nil, "nobody would take it")
            #expect(try await store.recordHealth(of: host.id, facts: .sample(), validForMS: 0) == nil, "an agent that knows no guards")

            let first = try #require(try await store.recordHealth(of: host.id, facts: facts(), validForMS: 0, leaseMS: 9000))
            #expect(first == GuardOrder(number: 1, bootID: "b1", untilMS: 10_000))
            #expect(try await store.host("one").guardian == HostGuard(number: 1, isConfirmed: false, leaseMS: 9000))
            #expect(try await store.host("one").facts?.boot == nil, "a clock is not kept")
            let second = try #require(try await store.recordHealth(of: host.id, facts: facts(), validForMS: 0, leaseMS: 7000))
            try await store.confirmGuard(of: host.id, number: first.number)
            #expect(try await store.host("one").guardian == HostGuard(number: second.number, isConfirmed: true, leaseMS: 9000))

            // The guard has gone: whoever confirmed is released, and a late confirmation is none.
            let release = try #require(try await store.recordHealth(of: host.id, facts: facts(.absent, armed: true), validForMS: 0))
            #expect(release == GuardOrder(number: 3, bootID: "b1", untilMS: nil))
            try await store.confirmGuard(of: host.id, number: second.number)
            #expect(try await store.host("one").guardian == HostGuard(number: 3, isConfirmed: false, leaseMS: 0))
            // A store that was put back knows fewer orders than the guard.
            #expect(try await store.recordHealth(of: host.id, facts: facts(number: 70), validForMS: 0)?.number == 71)
            // Switched off: what is armed is released.
            try await store.confirmGuard(of: host.id, number: 71)
            _ = try await store.setAutoMigration(of: host.id, onHostDown: false, onHostShutdown: nil)
            #expect(try await store.recordHealth(of: host.id, facts: facts(armed: true), validForMS: 0)?.untilMS == nil)
            #expect(try await store.recordHealth(of: host.id, facts: facts(armed: true), validForMS: 0)?.number == 73, "until it has heard")
            #expect(try await store.recordHealth(of: host.id, facts: facts(), validForMS: 0) == nil)
        }
    }

    @Test(arguments: Backend.available)
    func `a host that is moved to another agent is not the one that confirmed`(_ backend: Backend) async throws {
        try await withStore(backend) { store in
            let (host, _) = try await dead(store)
            _ = try await store.registerHost(name: "one", agentURL: host.agentURL)
            #expect(try await store.host("one").guardian.isConfirmed)
            _ = try await store.registerHost(name: "one", agentURL: "https://elsewhere:7070")
            #expect(try await !store.host("one").guardian.isConfirmed)
        }
    }

    @Test(arguments: Backend.available)
    func `every server that ran is rescued once, and what cannot leave is named`(_ backend: Backend) async throws {
        try await withStores(backend, 2) { stores in
            let store = stores[0]
            let (host, lease) = try await dead(store)
            for name in ["a", "b"] { _ = try await store.addServer(name, on: host, storage: "pool") }
            _ = try await store.addServer("local", on: host)
            _ = try await store.addServer("off", on: host, status: .ready, storage: "pool")
            let starting = try await store.addServer("starting", on: host, status: .ready, storage: "pool")
            _ = try await store.beginOperation(starting.id, .starting, from: [.ready], owner: "c1", leaseMS: 60_000)
            let stopping = try await store.addServer("stopping", on: host, storage: "pool")
            _ = try await store.beginOperation(stopping.id, .stopping, from: [.running], owner: "c1", leaseMS: 60_000)
            let moving = try await store.addServer("moving", on: host, storage: "pool")
            _ = try await store.submit(moving)

            async let one = stores[0].rescueServers(of: host.id, provenByLease: lease)
            async let two = stores[1].rescueServers(of: host.id, provenByLease: lease)
            let rescues = [try #require(try await one), try #require(try await two)]
            #expect(rescues.flatMap(\.submitted).sorted() == ["a", "b", "starting", "stopping"])
            for rescue in rescues { #expect(rescue.left.keys.sorted() == ["local", "moving"]) }
            #expect(rescues[0].left["local"]?.contains("disk0") == true)

            for migration in try await store.migrations(MigrationFilter(modes: [.rescue])) {
                #expect(migration.actor == Store.hostDownActor && migration.options.provenByLease == lease)
                #expect(migration.options.autoStart == (migration.server != stopping.id))
                #expect(try await store.history(of: migration.id).first?.reason?.code == .hostProvenDown)
            }
            // Before what others have asked for, though that came first.
            let claimed = try await store.claimMigrations(worker: "w1", leaseMS: 60_000, limit: 1)
            #expect(claimed.first?.mode == .rescue)
        }
    }

    @Test(arguments: Backend.available)
    func `nothing is started elsewhere without proof`(_ backend: Backend) async throws {
        try await withStore(backend) { store in
            let (host, lease) = try await dead(store)
            let server = try await store.addServer("web", on: host, storage: "pool")
            // Another lease; one that was renewed meanwhile; a host that answers; one that is not to be left.
            #expect(try await store.rescueServers(of: host.id, provenByLease: lease - 1) == nil)
            let next = try #require(try await store.recordHealth(of: host.id, facts: facts(), validForMS: 60_000))
            #expect(try await store.rescueServers(of: host.id, provenByLease: lease) == nil)
            #expect(try await store.rescueServers(of: host.id, provenByLease: next.number) == nil)
            let last = try #require(try await store.recordHealth(of: host.id, facts: facts(), validForMS: 0))
            _ = try await store.setAutoMigration(of: host.id, onHostDown: false, onHostShutdown: nil)
            #expect(try await store.rescueServers(of: host.id, provenByLease: last.number) == nil)
            #expect(try await store.migrations(MigrationFilter()).isEmpty)
            // Nobody else can pretend that there is proof.
            await refusal(.hostNotDown) {
                try await store.submitMigration(
                    server: server.id, mode: .rescue, options: MigrationOptions(provenByLease: lease), maxAttempts: 1, actor: "ada")
            }
            let (other, unconfirmed) = try await dead(store, "two")
            _ = try await store.registerHost(name: "two", agentURL: "https://elsewhere:7070")
            #expect(try await store.rescueServers(of: other.id, provenByLease: unconfirmed) == nil)
        }
    }

    @Test(arguments: Backend.available)
    func `a host that is back gets no lease before the rescues that rest on the last one are over`(_ backend: Backend) async throws {
        try await withStore(backend) { store in
            let (host, lease) = try await dead(store)
            let server = try await store.addServer("web", on: host, storage: "pool")
            _ = try #require(try await store.rescueServers(of: host.id, provenByLease: lease))
            let options = MigrationOptions(provenByLease: lease)
            for report in [facts(armed: true, over: true), facts(.absent, armed: true, over: true)] {
                #expect(try await store.recordHealth(of: host.id, facts: report, validForMS: 60_000) == nil)
            }
            _ = try await store.setAutoMigration(of: host.id, onHostDown: false, onHostShutdown: nil)
            #expect(try await store.recordHealth(of: host.id, facts: facts(armed: true, over: true), validForMS: 60_000) == nil)
            try await store.checkRescue(of: server.id, options: options)

            let migration = try #require(try await store.claimMigrations(worker: "w1", leaseMS: 60_000, limit: 1).first)
            try await store.fail(try await store.advance(migration, to: .scheduling))
            #expect(try await store.recordHealth(of: host.id, facts: facts(armed: true, over: true), validForMS: 0)?.untilMS == nil)
            await refusal(.hostNotDown) { try await store.checkRescue(of: server.id, options: options) }
        }
    }

    @Test(arguments: Backend.available)
    func `a rescue that failed is tried again, but not at once`(_ backend: Backend) async throws {
        try await withStore(backend) { store in
            let (host, lease) = try await dead(store)
            _ = try await store.addServer("web", on: host, storage: "pool")
            #expect(try await store.rescueServers(of: host.id, provenByLease: lease)?.submitted == ["web"])
            let migration = try #require(try await store.claimMigrations(worker: "w1", leaseMS: 60_000, limit: 1).first)
            try await store.fail(try await store.advance(migration, to: .scheduling))
            let next = try #require(try await store.rescueServers(of: host.id, provenByLease: lease))
            #expect(next.submitted.isEmpty && next.left["web"]?.contains("tried again") == true)
        }
    }

    @Test(arguments: Backend.available)
    func `a note is kept while the host is offline`(_ backend: Backend) async throws {
        try await withStore(backend) { store in
            let host = try await store.addHost("one")
            try await store.noteDown(host.id, "too early")
            #expect(try await store.host("one").downNote == nil)
            try await store.recordHealth(of: host.id, facts: .sample(), validForMS: 0)
            try await store.noteDown(host.id, "it is down")
            #expect(try await store.host("one").downNote == "it is down")
            try await store.recordHealth(of: host.id, facts: .sample(), validForMS: 0)
            #expect(try await store.host("one").downNote == nil)
        }
    }
}
