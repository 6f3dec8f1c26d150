import Backends
import Fleet
import SQL
import Store
import Testing

@Suite struct HostTests {
    @Test(arguments: Backend.available)
    func `a host is added once, found by id and name, and may move to another address`(_ backend: Backend) async throws {
        try await withStore(backend) { store in
            let host = try await store.registerHost(name: "one", agentURL: "https://one:7070")
            #expect(host.enabled && host.facts == nil && !host.isOnline(at: .now))
            let moved = try await store.registerHost(name: "one", agentURL: "https://one:8080")
            #expect(moved.id == host.id && moved.agentURL == "https://one:8080")
            _ = try await store.registerHost(name: "another", agentURL: "https://another:7070")
            #expect(try await store.hosts().map(\.name) == ["another", "one"])
            #expect(try await store.host("one") == moved)
            #expect(try await store.host(host.id.value) == moved)
            let sentence = await refusal(.notFound) { try await store.host("three") }
            #expect(sentence == "There is no host three.")
        }
    }

    @Test(arguments: Backend.available)
    func `health keeps the facts and proves the host alive for as long as said`(_ backend: Backend) async throws {
        try await withStore(backend) { store in
            let host = try await store.addHost("one")
            #expect(host.facts == .sample())
            #expect(host.isOnline(at: .now))
            #expect(!host.isOnline(at: .now + .seconds(61)))
            var facts = HostFacts.sample()
            facts.storages.removeLast()
            facts.storages[0].freeBytes = 5
            facts.networks = []
            try await store.recordHealth(of: host.id, facts: facts, validForMS: -1)
            let later = try await store.host("one")
            #expect(later.facts == facts)
            #expect(!later.isOnline(at: .now))
            await refusal(.notFound) { try await store.recordHealth(of: "none", facts: facts, validForMS: 1) }
            let storages = try await store.database.read { try await $0.query("SELECT name, free FROM storages") }
            #expect(storages.map(\.values) == [[.text("local"), .integer(5)]])
            let networks = try await store.database.read { try await $0.query("SELECT name FROM networks") }
            #expect(networks.isEmpty)
        }
    }

    @Test(arguments: Backend.available)
    func `a host can be disabled and enabled`(_ backend: Backend) async throws {
        try await withStore(backend) { store in
            let host = try await store.addHost("one")
            #expect(try await store.setHostEnabled(host.id, false).enabled == false)
            #expect(try await store.host("one").enabled == false)
            #expect(try await store.setHostEnabled(host.id, true).enabled)
            await refusal(.notFound) { try await store.setHostEnabled("none", true) }
        }
    }

    @Test(arguments: Backend.available)
    func `loads count servers, migrations on their way, and what these reserved`(_ backend: Backend) async throws {
        try await withStore(backend) { store in
            let (one, two) = (try await store.addHost("one"), try await store.addHost("two"))
            let server = try await store.addServer("web", on: one, vcpus: 2)
            _ = try await store.addServer("db", on: two, vcpus: 3, memoryBytes: gibibyte)
            let migration = try await store.advance(store.claim(server), to: .scheduling)
            try await store.advance(migration, to: .syncingDisk) { change in
                change.migration.target = two.id
                change.reserve = .sample(migration.id, on: two, vcpus: 2, storageBytes: ["local": 7, "pool": 9])
            }
            let loads = try await store.hostLoads()
            #expect(loads.map(\.host.name) == ["one", "two"])
            #expect(loads.map(\.vcpusTaken) == [2, 5])
            #expect(loads.map(\.memoryTakenBytes) == [128 * mebibyte, gibibyte + 128 * mebibyte])
            #expect(loads.map(\.inboundMigrations) == [0, 1])
            // The pool is shared: what is reserved on it counts on both.
            #expect(loads.map(\.storageReservedBytes) == [["pool": 9], ["local": 7, "pool": 9]])
        }
    }
}
