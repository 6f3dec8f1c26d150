import Backends
import Fleet
import SQL
import Store
import Testing

@Suite struct GroupTests {
    @Test(arguments: Backend.available)
    func `a group is made, filled, emptied and deleted`(_ backend: Backend) async throws {
        try await withStore(backend) { store in
            let host = try await store.addHost("one")
            let (a, b) = (try await store.addServer("a", on: host), try await store.addServer("b", on: host))
            let group = try await store.createGroup(name: "web", policy: .apart)
            #expect(group.members.isEmpty && group.policy == .apart)
            let sentence = await refusal(.nameTaken) { try await store.createGroup(name: "web", policy: .together) }
            #expect(sentence == "There is a server group named web already. Choose another name.")
            _ = try await store.addToGroup("web", server: b.id)
            _ = try await store.addToGroup(group.id.value, server: a.id)
            // Once more changes nothing.
            #expect(try await store.addToGroup("web", server: a.id).members.map(\.name) == ["a", "b"])
            _ = try await store.createGroup(name: "db", policy: .together)
            #expect(try await store.groups().map(\.name) == ["db", "web"])
            #expect(try await store.removeFromGroup("web", server: a.id).members.map(\.server) == [b.id])
            await refusal(.notFound) { try await store.removeFromGroup("web", server: a.id) }
            await refusal(.notFound) { try await store.addToGroup("web", server: "nosuch") }
            await refusal(.notFound) { try await store.addToGroup("nosuch", server: a.id) }
            try await store.deleteGroup("web")
            await refusal(.notFound) { try await store.group("web") }
            await refusal(.notFound) { try await store.deleteGroup("web") }
            #expect(try await store.server("b").id == b.id)
        }
    }

    @Test(arguments: Backend.available)
    func `companions count where they are and where they go`(_ backend: Backend) async throws {
        try await withStore(backend) { store in
            let (one, two) = (try await store.addHost("one"), try await store.addHost("two"))
            let (a, b) = (try await store.addServer("a", on: one), try await store.addServer("b", on: one))
            _ = try await store.createGroup(name: "web", policy: .apart)
            for server in [a, b] { _ = try await store.addToGroup("web", server: server.id) }
            func seen() async throws -> GroupCompanion? { try await store.companions(of: a.id).first }
            #expect(
                try await store.companions(of: a.id) == [GroupCompanion(group: "web", policy: .apart, name: "b", host: one.id)])
            let migration = try await store.advance(store.claim(b), to: .scheduling)
            #expect(try await seen()?.isLeaving == true)
            #expect(try await seen()?.target == nil)
            try await store.advance(migration, to: .syncingDisk) { change in
                change.migration.target = two.id
                change.reserve = .sample(migration.id, on: two)
            }
            #expect(try await seen()?.target == two.id)
            #expect(try await store.companions(inGroup: "web").map(\.name) == ["a", "b"])
        }
    }

    @Test(arguments: Backend.available)
    func `two that must stay apart cannot reserve on one host, whoever comes first`(_ backend: Backend) async throws {
        try await withStore(backend) { store in
            let (one, two) = (try await store.addHost("one"), try await store.addHost("two"))
            let servers = [try await store.addServer("a", on: one), try await store.addServer("b", on: one)]
            _ = try await store.createGroup(name: "web", policy: .apart)
            var migrations: [Migration] = []
            for server in servers {
                _ = try await store.addToGroup("web", server: server.id)
                migrations.append(try await store.advance(store.claim(server), to: .scheduling))
            }
            func reserve(_ migration: Migration) async throws {
                try await store.advance(migration, to: .syncingDisk) { change in
                    change.migration.target = two.id
                    change.reserve = .sample(migration.id, on: two)
                }
            }
            try await reserve(migrations[0])
            let sentence = await refusal(.overbooked) { try await reserve(migrations[1]) }
            #expect(sentence.contains("the group web (apart) allows: a was placed meanwhile"))
        }
    }

    @Test(arguments: Backend.available)
    func `a new server joins its group with its first breath, or is not made at all`(_ backend: Backend) async throws {
        try await withStore(backend) { store in
            let host = try await store.addHost("one")
            let group = try await store.createGroup(name: "web", policy: .apart)
            let first = try await store.createServer(.sample("a", on: host.id), owner: "test", leaseMS: 60_000, group: group.id)
            #expect(try await store.group("web").members.map(\.server) == [first.id])
            await refusal(.overbooked) {
                try await store.createServer(.sample("b", on: host.id), owner: "test", leaseMS: 60_000, group: group.id)
            }
            await refusal(.notFound) { try await store.server("b") }
        }
    }
}

@Suite struct LimitTests {
    @Test(arguments: Backend.available)
    func `maintenance, overcommit and slots are kept, and what may be promised follows`(_ backend: Backend) async throws {
        try await withStore(backend) { store in
            let host = try await store.registerHost(name: "one", agentURL: "https://one:7070")
            #expect(!host.maintenance && host.overcommit == .standard && host.slots == .standard)
            #expect(try await store.setHostMaintenance(host.id, true).maintenance)
            #expect(try await !store.setHostMaintenance(host.id, false).maintenance)
            _ = try await store.setHostLimits(host.id, vcpus: 2, inbound: 3)
            let limited = try await store.setHostLimits(host.id, memory: 0.5, outbound: 0)
            #expect(limited.overcommit == Overcommit(vcpus: 2, memory: 0.5))
            #expect(limited.slots == MigrationSlots(inbound: 3, outbound: 0))
            // Before and after the agent told what the host has.
            try await store.recordHealth(of: host.id, facts: .sample(cpus: 2, memoryBytes: gibibyte), validForMS: 60_000)
            _ = try await store.createServer(.sample("a", on: host.id, vcpus: 4), owner: "test", leaseMS: 60_000)
            await refusal(.overbooked) { try await store.createServer(.sample("b", on: host.id), owner: "test", leaseMS: 60_000) }
            _ = try await store.setHostLimits(host.id, vcpus: 2.5)
            _ = try await store.createServer(.sample("b", on: host.id), owner: "test", leaseMS: 60_000)
            await refusal(.notFound) { try await store.setHostLimits("none", vcpus: 1) }
            await refusal(.notFound) { try await store.setHostMaintenance("none", true) }
        }
    }

    @Test(arguments: Backend.available)
    func `slots are counted when a reservation is taken`(_ backend: Backend) async throws {
        try await withStore(backend) { store in
            let (one, two, three) = (
                try await store.addHost("one"), try await store.addHost("two"), try await store.addHost("three")
            )
            _ = try await store.setHostLimits(two.id, inbound: 1)
            _ = try await store.setHostLimits(one.id, outbound: 2)
            func scheduled(_ name: String) async throws -> Migration {
                try await store.advance(store.claim(store.addServer(name, on: one)), to: .scheduling)
            }
            func reserve(_ migration: Migration, on target: Host) async throws -> Migration {
                try await store.advance(migration, to: .syncingDisk) { change in
                    change.migration.target = target.id
                    change.reserve = .sample(migration.id, on: target)
                }
            }
            let (a, b, c) = (try await scheduled("a"), try await scheduled("b"), try await scheduled("c"))
            let first = try await reserve(a, on: two)
            let inbound = await refusal(.overbooked) { try await reserve(b, on: two) }
            #expect(inbound == "Every slot for a migration into host \(two.id) is taken.")
            _ = try await reserve(b, on: three)
            let outbound = await refusal(.overbooked) { try await reserve(c, on: three) }
            #expect(outbound == "Every slot for a migration out of host \(one.id) is taken.")
            let loads = try await store.hostLoads()
            #expect(loads.map(\.host.name) == ["one", "three", "two"])
            #expect(loads.map(\.outboundMigrations) == [2, 0, 0] && loads.map(\.inboundMigrations) == [0, 1, 1])
            // The end of one gives its slots back.
            try await store.fail(first)
            _ = try await reserve(c, on: two)
        }
    }

    @Test(arguments: Backend.available)
    func `loads tell what disks were promised, and which hosts failed lately`(_ backend: Backend) async throws {
        try await withStore(backend) { store in
            let (one, two) = (try await store.addHost("one"), try await store.addHost("two"))
            let server = try await store.addServer("a", on: one)
            _ = try await store.addServer("b", on: one)
            #expect(try await store.hostLoads().map(\.storagePromisedBytes) == [["local": 2 * gibibyte], [:]])
            #expect(try await store.hostLoads().map(\.recentFailures) == [0, 0])
            let placed = try await store.bring(store.claim(server), toSwitchingOn: two)
            let reason = Reason(.targetLost, "The target went away.")
            let turned = try await store.advance(placed, to: placed.state) { change in
                change.migration.direction = .rollback
                change.migration.reason = reason
                change.history?.reason = reason
            }
            // What is told on the way back, and a way back for which no target is to blame, count for nothing.
            let awaiting = Reason("awaiting", "awaiting one to answer")
            try await store.advance(turned, to: turned.state) { $0.history?.reason = awaiting }
            var other = try await store.bring(store.claim(store.addServer("c", on: one)), toSwitchingOn: two)
            for reason in [Reason(.cancelled, "It was cancelled."), awaiting] {
                other = try await store.advance(other, to: other.state) { change in
                    change.migration.direction = .rollback
                    change.migration.reason = reason
                    change.history?.reason = reason
                }
            }
            try await store.advance(turned, to: .failed) { change in
                change.migration.direction = .forward
                change.release = true
                change.serverStatus = .running
            }
            #expect(try await store.hostLoads().map(\.recentFailures) == [0, 1])
            // Beyond an hour nobody remembers it.
            _ = try await store.database.write { transaction in
                try await transaction.execute(
                    backend.dialect == .postgres
                        ? "DROP TRIGGER transitions_not_updated ON transitions" : "DROP TRIGGER transitions_not_updated")
                return try await transaction.execute("UPDATE transitions SET at = at - 3700000")
            }
            #expect(try await store.hostLoads().map(\.recentFailures) == [0, 0])
        }
    }

    @Test(arguments: Backend.available)
    func `experience is what ready migrations took beside their bytes`(_ backend: Backend) async throws {
        try await withStore(backend) { store in
            let (one, two) = (try await store.addHost("one"), try await store.addHost("two"))
            #expect(try await store.experience(.live) == Experience())
            let server = try await store.addServer("a", on: one)
            var migration = try await store.bring(store.claim(server), toSwitchingOn: two)
            migration.blackout = Blackout(
                lastPassUS: 1000, diskDrainUS: 2000, deviceStateUS: 30_000, handoverUS: 4000, resumeUS: 5000, totalUS: 42_000)
            try await store.advance(migration, to: .ready) { change in
                change.placement = two.id
                change.release = true
                change.serverStatus = .running
            }
            #expect(try await store.experience(.live).switchMS == 12)
            #expect(try await store.experience(.cold) == Experience())
            // Its journal tells no times, so that no rate is known; and of another pair of hosts, or encrypted, nothing is.
            let known = try await store.experience(.live, between: two.id, and: one.id, encrypted: false)
            #expect(known == Experience(switchMS: 12))
        }
    }

    @Test(arguments: Backend.available)
    func `experience of rates is of the two hosts, and of streams that nothing held back`(_ backend: Backend) async throws {
        try await withStore(backend) { store in
            let hosts = [try await store.addHost("one"), try await store.addHost("two"), try await store.addHost("three")]
            let server = try await store.addServer("a", on: hosts[0])
            var migration = try await store.bring(store.claim(server), toSwitchingOn: hosts[1])
            // The zeroes among its memory took one second of the send's four.
            migration.progress = Progress(diskDone: 400 << 20, memoryTotal: (300 << 20) + 2_000_000_000, memoryTransferred: 300 << 20)
            try await store.advance(migration, to: .ready) { change in
                change.placement = hosts[1].id
                change.release = true
                change.serverStatus = .running
            }
            let id = migration.id
            _ = try await store.database.write { transaction in
                for (position, step) in [("prepare-target", 1000), ("mirror-disks", 3000), ("send-memory", 7000)].enumerated() {
                    _ = try await transaction.execute(
                        """
                        INSERT INTO steps (migration_id, attempt, step, position, status, changed_at)
                        VALUES (\(id.value), \(Int64(1)), \(step.0), \(Int64(position)), \("done"), \(Int64(step.1)))
                        """)
                }
                return 0
            }
            for (one, other) in [(0, 1), (1, 0)] {
                let known = try await store.experience(.live, between: hosts[one].id, and: hosts[other].id, encrypted: false)
                #expect(known.diskRate == 200 << 20 && known.memoryRate == 100 << 20)
            }
            #expect(try await store.experience(.live, between: hosts[0].id, and: hosts[2].id, encrypted: false).memoryRate == nil)
            #expect(try await store.experience(.live, between: hosts[0].id, and: hosts[1].id, encrypted: true).memoryRate == nil)
        }
    }
}
