import Backends
import Fleet
import Store
import Testing

@Suite struct ServerTests {
    @Test(arguments: Backend.available)
    func `a server begins in deploying under its first epoch, held by who creates it`(_ backend: Backend) async throws {
        try await withStore(backend) { store in
            let host = try await store.addHost("one")
            let wanted = Server.sample("web", on: host.id)
            let server = try await store.createServer(wanted, owner: "c1", leaseMS: 60_000)
            #expect(server.status == .deploying)
            #expect(server.epoch == Epoch(1))
            #expect(server.description == wanted.description)
            #expect(try await store.server("web") == server)
            #expect(try await store.server(server.id.value) == server)
            #expect(try await store.claimOperations(owner: "c2", leaseMS: 60_000, limit: 10).isEmpty)
            try await store.finishOperation(server.id, epoch: server.epoch, status: .ready, note: Reason(.agentError, "It was slow."))
            let deployed = try await store.server("web")
            #expect(deployed.status == .ready)
            #expect(deployed.note == Reason(.agentError, "It was slow."))
        }
    }

    @Test(arguments: Backend.available)
    func `a name is given once, and an unknown host or server is told`(_ backend: Backend) async throws {
        try await withStore(backend) { store in
            let host = try await store.addHost("one")
            _ = try await store.addServer("web", on: host)
            let sentence = await refusal(.nameTaken) {
                try await store.createServer(.sample("web", on: host.id), owner: "c", leaseMS: 1)
            }
            #expect(sentence.contains("web"))
            await refusal(.notFound) { try await store.createServer(.sample("db", on: "none"), owner: "c", leaseMS: 1) }
            await refusal(.notFound) { try await store.server("db") }
        }
    }

    @Test(arguments: Backend.available)
    func `a server is not placed where there is no room, and the sentence gives the figures`(_ backend: Backend) async throws {
        try await withStore(backend) { store in
            let host = try await store.addHost("one", facts: .sample(cpus: 1, memoryBytes: gibibyte))
            _ = try await store.addServer("big", on: host, vcpus: 7, memoryBytes: 1000 * mebibyte)
            let memory = await refusal(.overbooked) {
                try await store.createServer(.sample("a", on: host.id, memoryBytes: 25 * mebibyte), owner: "c", leaseMS: 1)
            }
            #expect(memory.contains("24 MiB") && memory.contains("25 MiB"))
            await refusal(.overbooked) {
                try await store.createServer(.sample("b", on: host.id, vcpus: 2, memoryBytes: mebibyte), owner: "c", leaseMS: 1)
            }
            _ = try await store.addServer("fits", on: host, vcpus: 1, memoryBytes: 24 * mebibyte)
            let silent = try await store.registerHost(name: "silent", agentURL: "https://silent:7070")
            await refusal(.overbooked) { try await store.createServer(.sample("c", on: silent.id), owner: "c", leaseMS: 1) }
        }
    }

    @Test(arguments: Backend.available)
    func `what the agent pinned is kept while the operation goes on, and growth needs room too`(_ backend: Backend) async throws {
        try await withStore(backend) { store in
            let host = try await store.addHost("one", facts: .sample(memoryBytes: 200 * mebibyte))
            let server = try await store.createServer(.sample("web", on: host.id), owner: "c1", leaseMS: 60_000)
            var pinned = server.description
            pinned.memoryBytes += 8192
            pinned.disks[0].sizeBytes = 3 * gibibyte
            try await store.updateDescription(server.id, epoch: server.epoch, pinned)
            #expect(try await store.server("web").description == pinned)
            #expect(try await store.hostLoads().map(\.memoryTakenBytes) == [pinned.memoryBytes])
            pinned.memoryBytes = 201 * mebibyte
            await refusal(.overbooked) { try await store.updateDescription(server.id, epoch: server.epoch, pinned) }
            await refusal(.superseded) { try await store.updateDescription(server.id, epoch: server.epoch.next, pinned) }
            try await store.finishOperation(server.id, epoch: server.epoch, status: .ready, note: nil)
            await refusal(.superseded) { try await store.updateDescription(server.id, epoch: server.epoch, pinned) }
        }
    }

    @Test(arguments: Backend.available)
    func `lists are filtered by part of name or id, host and status`(_ backend: Backend) async throws {
        try await withStore(backend) { store in
            let (one, two) = (try await store.addHost("one"), try await store.addHost("two"))
            let web = try await store.addServer("Web_1", on: one)
            _ = try await store.addServer("webx1", on: two, status: .ready)
            _ = try await store.addServer("db", on: two)
            func names(_ filter: ServerFilter) async throws -> [String] { try await store.servers(filter).map(\.name).sorted() }
            #expect(try await names(ServerFilter()) == ["Web_1", "db", "webx1"])
            #expect(try await names(ServerFilter(search: "wEB")) == ["Web_1", "webx1"])
            #expect(try await names(ServerFilter(search: "b_1")) == ["Web_1"])
            #expect(try await names(ServerFilter(search: "%")) == [])
            #expect(try await names(ServerFilter(search: String(web.id.value.prefix(13)))) == ["Web_1"])
            #expect(try await names(ServerFilter(host: two.id)) == ["db", "webx1"])
            #expect(try await names(ServerFilter(host: two.id, status: .ready)) == ["webx1"])
        }
    }

    @Test(arguments: Backend.available)
    func `an operation raises the epoch, and only its holder can end it`(_ backend: Backend) async throws {
        try await withStore(backend) { store in
            let host = try await store.addHost("one")
            let server = try await store.addServer("web", on: host, status: .ready)
            let starting = try await store.beginOperation(server.id, .starting, from: [.ready], owner: "c1", leaseMS: 60_000)
            #expect(starting.status == .starting && starting.epoch == server.epoch.next)
            let busy = await refusal(.busy) {
                try await store.beginOperation(server.id, .deleting, from: [.ready, .starting], owner: "c2", leaseMS: 1)
            }
            #expect(busy.contains("web is starting"))
            await refusal(.superseded) {
                try await store.finishOperation(server.id, epoch: server.epoch, status: .running, note: nil)
            }
            try await store.renewOperation(server.id, epoch: starting.epoch, leaseMS: 60_000)
            try await store.finishOperation(server.id, epoch: starting.epoch, status: .running, note: nil)
            await refusal(.superseded) {
                try await store.finishOperation(server.id, epoch: starting.epoch, status: .ready, note: nil)
            }
            await refusal(.superseded) { try await store.renewOperation(server.id, epoch: starting.epoch, leaseMS: 1) }
            #expect(try await store.server("web").status == .running)
            let wrong = await refusal(.wrongStatus) {
                try await store.beginOperation(server.id, .starting, from: [.ready], owner: "c1", leaseMS: 1)
            }
            #expect(wrong.contains("is running") && wrong.contains("ready"))
            await refusal(.notFound) { try await store.beginOperation("none", .starting, from: [.ready], owner: "c1", leaseMS: 1) }
        }
    }

    @Test(arguments: Backend.available)
    func `an operation whose holder died is taken over once, under a higher epoch`(_ backend: Backend) async throws {
        try await withStore(backend) { store in
            let host = try await store.addHost("one")
            let server = try await store.addServer("web", on: host)
            let stopping = try await store.beginOperation(server.id, .stopping, from: [.running], owner: "c1", leaseMS: 0)
            let taken = try await store.claimOperations(owner: "c2", leaseMS: 60_000, limit: 10)
            #expect(taken.map(\.id) == [server.id])
            #expect(taken.map(\.epoch) == [stopping.epoch.next])
            #expect(taken.map(\.status) == [.stopping])
            #expect(try await store.claimOperations(owner: "c3", leaseMS: 60_000, limit: 10).isEmpty)
            await refusal(.superseded) {
                try await store.finishOperation(server.id, epoch: stopping.epoch, status: .ready, note: nil)
            }
        }
    }

    @Test(arguments: Backend.available)
    func `a server with an unfinished migration takes no operation`(_ backend: Backend) async throws {
        try await withStore(backend) { store in
            let host = try await store.addHost("one")
            let server = try await store.addServer("web", on: host)
            let migration = try await store.submit(server)
            let sentence = await refusal(.busy) {
                try await store.beginOperation(server.id, .stopping, from: Set(ServerStatus.allCases), owner: "c1", leaseMS: 1)
            }
            #expect(sentence.contains(migration.id.value))
            await refusal(.superseded) { try await store.removeServer(server.id, epoch: server.epoch) }
        }
    }

    @Test(arguments: Backend.available)
    func `a removed server leaves its migrations and their history`(_ backend: Backend) async throws {
        try await withStore(backend) { store in
            let host = try await store.addHost("one")
            let server = try await store.addServer("web", on: host)
            let migration = try await store.fail(store.claim(server))
            let deleting = try await store.beginOperation(server.id, .deleting, from: [.running], owner: "c1", leaseMS: 60_000)
            await refusal(.superseded) { try await store.removeServer(server.id, epoch: server.epoch) }
            try await store.removeServer(server.id, epoch: deleting.epoch)
            await refusal(.notFound) { try await store.server("web") }
            #expect(try await store.migration(migration.id.value).state == .failed)
            #expect(try await store.history(of: migration.id).count == 3)
            // A failed deployment goes the same way, and the name is free again.
            let failed = try await store.createServer(.sample("web", on: host.id), owner: "c1", leaseMS: 60_000)
            try await store.removeServer(failed.id, epoch: failed.epoch)
        }
    }

    @Test(arguments: Backend.available)
    func `what an agent saw corrects the status, unless a migration, an operation or a newer epoch stands against it`(
        _ backend: Backend
    ) async throws {
        try await withStore(backend) { store in
            let host = try await store.addHost("one")
            let server = try await store.addServer("web", on: host)
            let note = Reason(.guestStopped, "The guest powered itself off.")
            func observe(_ epoch: Epoch) async throws -> Server {
                try await store.observeGuest(server.id, epoch: epoch, status: .ready, note: note)
                return try await store.server("web")
            }
            #expect(try await observe(Epoch(server.epoch.value - 1)).status == .running)
            let migration = try await store.claim(server)
            #expect(try await observe(migration.epoch).status == .startMigrate)
            try await store.fail(migration)
            let stopping = try await store.beginOperation(server.id, .stopping, from: [.running], owner: "c1", leaseMS: 60_000)
            #expect(try await observe(stopping.epoch).status == .stopping)
            try await store.finishOperation(server.id, epoch: stopping.epoch, status: .running, note: nil)
            let observed = try await observe(stopping.epoch)
            #expect(observed.status == .ready && observed.note == note)
        }
    }

    @Test(arguments: Backend.available)
    func `a pause raises the epoch, is kept under it alone, and stays on the way`(_ backend: Backend) async throws {
        try await withStore(backend) { store in
            let host = try await store.addHost("one")
            let server = try await store.addServer("web", on: host)
            let off = try await store.addServer("off", on: host, status: .ready)
            await refusal(.wrongStatus) { try await store.beginPause(off.id) }
            await refusal(.notFound) { try await store.beginPause("none") }
            let pausing = try await store.beginPause(server.id)
            #expect(pausing.status == .running && !pausing.isPaused && pausing.epoch == server.epoch.next)
            try await store.observeGuest(server.id, epoch: server.epoch, status: .running, isPaused: true, note: nil)
            #expect(try await store.server("web").isPaused == false)
            try await store.observeGuest(server.id, epoch: pausing.epoch, status: .running, isPaused: true, note: nil)
            #expect(try await store.server("web").isPaused)
            #expect(try await store.servers(ServerFilter(status: .running, isPaused: true)).map(\.name) == ["web"])
            #expect(try await store.servers(ServerFilter(isPaused: false)).map(\.name) == ["off"])

            let migration = try await store.claim(try await store.server("web"))
            await refusal(.busy) { try await store.beginPause(server.id) }
            try await store.fail(migration)
            #expect(try await store.server("web").isPaused)
            let stopping = try await store.beginOperation(server.id, .stopping, from: [.running], owner: "c1", leaseMS: 60_000)
            await refusal(.busy) { try await store.beginPause(server.id) }
            try await store.finishOperation(server.id, epoch: stopping.epoch, status: .ready, isPaused: false, note: nil)
            #expect(try await store.server("web").isPaused == false)
        }
    }
}
