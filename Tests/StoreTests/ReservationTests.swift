import Backends
import Fleet
import SQL
import Store
import Testing

/// Rule 8: what migrations will need is reserved and never promised twice.
@Suite struct ReservationTests {
    /// Claimed migrations in `scheduling`, each of a server of one vCPU and 128 MiB on `host`.
    private func scheduled(_ count: Int, on host: Host, _ store: Store) async throws -> [Migration] {
        for number in 0..<count { _ = try await store.submit(store.addServer("s\(number)", on: host)) }
        var migrations: [Migration] = []
        for migration in try await store.claimMigrations(worker: "w1", leaseMS: 60_000, limit: count) {
            migrations.append(try await store.advance(migration, to: .scheduling))
        }
        return migrations
    }

    /// How many of the migrations, all at once and from several connections, get their reservation.
    private func race(_ migrations: [Migration], to target: Host, _ stores: [Store], _ storageBytes: [String: Int64]) async -> Int {
        await withTaskGroup(of: Bool.self) { group in
            for (number, migration) in migrations.enumerated() {
                group.addTask {
                    do {
                        try await stores[number % stores.count].advance(migration, to: .syncingDisk) { change in
                            change.migration.target = target.id
                            change.reserve = .sample(migration.id, on: target, storageBytes: storageBytes)
                        }
                        return true
                    } catch {
                        #expect((error as? StoreError)?.code == .overbooked, "\(error)")
                        return false
                    }
                }
            }
            return await group.reduce(0) { $0 + ($1 ? 1 : 0) }
        }
    }

    @Test(
        arguments: Backend.available,
        [
            // Room for five by vCPUs (eight a core), by memory, by the local and by the shared storage.
            (HostFacts.sample(cpus: 1), 3, [:]),
            (.sample(memoryBytes: 8 * 128 * mebibyte), 3, [:]),
            (.sample(localFreeBytes: 50), 0, ["local": 10]),
            (.sample(sharedFreeBytes: 59), 0, ["pool": 10]),
        ] as [(HostFacts, Int, [String: Int64])])
    func `racing reservations never overbook a host or a storage`(
        _ backend: Backend, _ scene: (facts: HostFacts, placed: Int, storageBytes: [String: Int64])
    ) async throws {
        try await withStores(backend, 4) { stores in
            let source = try await stores[0].addHost("one", facts: .sample(sharedFreeBytes: 59))
            let target = try await stores[0].addHost("two", facts: scene.facts)
            for number in 0..<scene.placed { _ = try await stores[0].addServer("there\(number)", on: target) }
            let migrations = try await scheduled(20, on: source, stores[0])
            #expect(await race(migrations, to: target, stores, scene.storageBytes) == 5)
            let room = try await stores[0].database.read { transaction in
                try await transaction.query("SELECT 1 AS one FROM host_rooms WHERE vcpus < 0 OR memory < 0").count
                    + transaction.query("SELECT 1 AS one FROM storage_rooms WHERE bytes < 0").count
            }
            #expect(room == 0)
        }
    }

    @Test(arguments: Backend.available)
    func `the database itself refuses to overbook`(_ backend: Backend) async throws {
        try await withStore(backend) { store in
            let one = try await store.addHost("one")
            let two = try await store.addHost("two", facts: .sample(cpus: 1, memoryBytes: gibibyte, localFreeBytes: 100))
            let migration = try await scheduled(1, on: one, store)[0]
            @Sendable func reserve(vcpus: Int, memory: Int64) -> SQLStatement {
                """
                INSERT INTO reservations (migration_id, host_id, vcpus, memory, created_at)
                VALUES (\(migration.id.value), \(two.id.value), \(vcpus), \(memory), 0)
                """
            }
            await breach("hosts_not_overbooked", of: store, reserve(vcpus: 9, memory: 128 * mebibyte))
            await breach("hosts_not_overbooked", of: store, reserve(vcpus: 1, memory: gibibyte + 1))
            // Less than the server needs would let another take what its placement will.
            await breach("reservations_cover_server", of: store, reserve(vcpus: 0, memory: 128 * mebibyte))
            await breach("reservations_cover_server", of: store, reserve(vcpus: 1, memory: 128 * mebibyte - 1))
            try await store.database.write { try await $0.execute(reserve(vcpus: 1, memory: gibibyte)) }
            await breach("reservations_not_changed", of: store, "UPDATE reservations SET vcpus = 100")
            @Sendable func storage(_ name: String, _ bytes: Int64) -> SQLStatement {
                """
                INSERT INTO reserved_storages (migration_id, host_id, storage, bytes)
                VALUES (\(migration.id.value), \(two.id.value), \(name), \(bytes))
                """
            }
            await breach("storages_not_overbooked", of: store, storage("local", 101))
            await breach("storages_not_overbooked", of: store, storage("none", 1))
            try await store.database.write { try await $0.execute(storage("local", 100)) }
            await breach("reservations_not_changed", of: store, "UPDATE reserved_storages SET bytes = 1000")
            await breach(
                "hosts_not_overbooked", of: store,
                """
                INSERT INTO servers (id, name, status, host_id, epoch, vcpus, memory, description, created_at)
                VALUES ('x', 'x', 'ready', \(two.id.value), 1, 1, 1, '{}', 0)
                """)
            await breach("hosts_not_overbooked", of: store, "UPDATE servers SET vcpus = 33")
        }
    }

    @Test(arguments: Backend.available)
    func `what disks may grow to is not promised twice`(_ backend: Backend) async throws {
        try await withStore(backend) { store in
            let (one, two) = (try await store.addHost("one"), try await store.addHost("two"))
            // Of 200 GiB, all free, one is promised.
            try await store.recordHealth(of: two.id, facts: .sample(localFreeBytes: 200 * gibibyte), validForMS: 60_000)
            _ = try await store.addServer("there", on: two)
            let migrations = try await scheduled(3, on: one, store)
            func reserve(_ number: Int, gibibytes: Int64) async throws {
                var change = MigrationChange(migrations[number])
                change.reserve = .sample(migrations[number].id, on: two, storageBytes: ["local": gibibytes * gibibyte])
                try await store.apply(change, worker: "w1")
            }
            await refusal(.overbooked) { try await reserve(0, gibibytes: 200) }
            try await reserve(0, gibibytes: 150)
            await refusal(.overbooked) { try await reserve(1, gibibytes: 50) }
            try await reserve(1, gibibytes: 49)
        }
    }

    @Test(arguments: Backend.available)
    func `a reservation is the migration's own and replaces its earlier one`(_ backend: Backend) async throws {
        try await withStore(backend) { store in
            let (one, two) = (try await store.addHost("one"), try await store.addHost("two"))
            let three = try await store.addHost("three")
            let migrations = try await scheduled(2, on: one, store)
            var change = MigrationChange(migrations[0])
            change.reserve = .sample(migrations[1].id, on: two)
            await refusal(.invalid) { try await store.apply(change, worker: "w1") }
            change.reserve = .sample(migrations[0].id, on: two)
            try await store.apply(change, worker: "w1")
            change.reserve = .sample(migrations[0].id, on: three)
            try await store.apply(change, worker: "w1")
            let loads = try await store.hostLoads().filter { $0.inboundMigrations > 0 }
            #expect(loads.map(\.host.name) == ["three"])
            #expect(loads.map(\.storageReservedBytes) == [["local": gibibyte]])
        }
    }
}
