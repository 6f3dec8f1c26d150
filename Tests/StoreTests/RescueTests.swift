import Backends
import Fleet
import Store
import Testing

@Suite struct RescueTests {
    static let vouched = MigrationOptions(confirmHostDown: true)

    @Test(arguments: Backend.available)
    func `only a host that is vouched for as off is left without its servers`(_ backend: Backend) async throws {
        try await withStore(backend) { store in
            let host = try await store.addHost("one")
            let server = try await store.addServer("web", on: host, storage: "pool")
            func refusal(_ options: MigrationOptions) async throws -> StoreError? {
                let submitted = await #expect(throws: StoreError.self) {
                    try await store.submitMigration(server: server.id, mode: .rescue, options: options, maxAttempts: 3, actor: "ada")
                }
                let checked = await #expect(throws: StoreError.self) { try await store.checkRescue(of: server.id, options: options) }
                #expect(submitted?.code == checked?.code && submitted?.message == checked?.message)
                return submitted
            }
            // It answers: who vouches is wrong.
            #expect(try await refusal(Self.vouched)?.code == .hostNotDown)
            try await store.recordHealth(of: host.id, facts: .sample(), validForMS: 0)
            let silent = try await refusal(MigrationOptions())
            #expect(silent?.code == .hostNotDown && silent?.message.contains("--confirm-host-down") == true)
            #expect(try await store.migrations(MigrationFilter()).isEmpty)
            #expect(try await store.server("web").status == .running)

            try await store.checkRescue(of: server.id, options: Self.vouched)
            let migration = try await store.submit(server, mode: .rescue)
            #expect(migration.mode == .rescue && migration.statusBefore == .running)
        }
    }

    @Test(arguments: Backend.available, [ServerStatus.starting, .stopping])
    func `a start or a stop that hangs on a host that is down ends with the rescue`(
        _ backend: Backend, _ status: ServerStatus
    ) async throws {
        try await withStore(backend) { store in
            let host = try await store.addHost("one")
            let before = try await store.addServer("web", on: host, status: status == .starting ? .ready : .running, storage: "pool")
            let held = try await store.beginOperation(before.id, status, from: [before.status], owner: "c1", leaseMS: 60_000)
            func submit(_ options: MigrationOptions) async throws -> Migration {
                try await store.submitMigration(server: held.id, mode: .rescue, options: options, maxAttempts: 3, actor: "ada")
            }
            // It answers; nobody vouches; another mode.
            for down in [false, true] {
                if down { try await store.recordHealth(of: host.id, facts: .sample(), validForMS: 0) }
                let options = down ? MigrationOptions() : Self.vouched
                let error = await #expect(throws: StoreError.self) { try await submit(options) }
                #expect(error?.code == .hostNotDown)
            }
            let cold = await #expect(throws: StoreError.self) { try await store.submit(held, mode: .cold) }
            #expect(cold?.code == .busy)
            #expect(try await store.server("web").status == status)

            let migration = try await submit(Self.vouched)
            #expect(migration.statusBefore == .ready)
            #expect(try await store.server("web").status == .startMigrate)
            let late = await #expect(throws: StoreError.self) {
                try await store.finishOperation(held.id, epoch: held.epoch, status: .running, note: nil)
            }
            #expect(late?.code == .superseded)
            #expect(try await store.claimOperations(owner: "c2", leaseMS: 60_000, limit: 5).isEmpty)
            let claimed = try await store.claimMigrations(worker: "w1", leaseMS: 60_000, limit: 5)
            #expect(claimed.map(\.id) == [migration.id] && claimed[0].epoch > held.epoch)
        }
    }

    @Test(arguments: Backend.available)
    func `a local disk is named`(_ backend: Backend) async throws {
        try await withStore(backend) { store in
            let host = try await store.addHost("one")
            let server = try await store.addServer("web", on: host)
            try await store.recordHealth(of: host.id, facts: .sample(), validForMS: 0)
            let error = await #expect(throws: StoreError.self) { try await store.checkRescue(of: server.id, options: Self.vouched) }
            #expect(error?.code == .localDisk && error?.message.hasPrefix("Disk disk0 of server web is on storage local") == true)
        }
    }

    @Test(arguments: Backend.available)
    func `slots out of a host that is down are not asked for, nor taken`(_ backend: Backend) async throws {
        try await withStore(backend) { store in
            let (one, two) = (try await store.addHost("one"), try await store.addHost("two"))
            let stuck = try await store.claim(try await store.addServer("stuck", on: one))
            _ = try await store.bring(stuck, toSwitchingOn: two)
            _ = try await store.setHostLimits(one.id, outbound: 1)
            let rescue = try await store.claim(try await store.addServer("web", on: one, storage: "pool"), mode: .rescue)
            let placed = try await store.advance(try await store.advance(rescue, to: .scheduling), to: .switching) {
                $0.migration.target = two.id
                $0.reserve = .sample(rescue.id, on: two, storageBytes: [:])
            }
            #expect(placed.state == .switching)
            let loads = try await store.hostLoads()
            #expect(loads.first { $0.host.id == one.id }?.outboundMigrations == 1)
            #expect(loads.first { $0.host.id == two.id }?.inboundMigrations == 2)
        }
    }

    /// From the claim to `ready` on another host.
    private func move(
        _ server: Server, to host: Host, _ store: Store, status: ServerStatus, cleanup: Cleanup? = nil
    ) async throws -> Migration {
        var migration = try await store.advance(try await store.claim(server, mode: .rescue), to: .scheduling)
        migration.target = host.id
        migration = try await store.advance(migration, to: .switching) {
            $0.reserve = Reservation(
                migration: migration.id, host: host.id, vcpus: server.description.vcpus, memoryBytes: server.description.memoryBytes,
                storageBytes: [:])
        }
        return try await store.advance(migration, to: .ready) { change in
            change.placement = host.id
            change.serverStatus = status
            change.releaseLease = true
            if var cleanup {
                cleanup.migration = migration.id
                cleanup.server = server.id
                change.cleanups = [cleanup]
            }
        }
    }

    @Test(arguments: Backend.available)
    func `a server that is to be started is a controller's to see through`(_ backend: Backend) async throws {
        try await withStore(backend) { store in
            let (one, two) = (try await store.addHost("one"), try await store.addHost("two"))
            let server = try await store.addServer("web", on: one, status: .ready, storage: "pool")
            let ended = try await move(server, to: two, store, status: .starting)
            #expect(ended.state == .ready)
            let claimed = try await store.claimOperations(owner: "c1", leaseMS: 60_000, limit: 5)
            #expect(claimed.map(\.name) == ["web"] && claimed[0].host == two.id && claimed[0].epoch > ended.epoch)
            #expect(try await store.claimOperations(owner: "c2", leaseMS: 60_000, limit: 5).isEmpty)
            try await store.finishOperation(server.id, epoch: claimed[0].epoch, status: .running, note: nil)
        }
    }

    @Test(arguments: Backend.available)
    func `what a late cleanup found is told in a history that has ended, once`(_ backend: Backend) async throws {
        try await withStore(backend) { store in
            let (one, two) = (try await store.addHost("one"), try await store.addHost("two"))
            let server = try await store.addServer("web", on: one, storage: "pool")
            let cleanup = Cleanup(
                id: "c", kind: .source, migration: "m", server: server.id, host: one.id, attempt: 1, epoch: server.epoch, dueAt: .now)
            let migration = try await move(server, to: two, store, status: .ready, cleanup: cleanup)
            let before = try await store.history(of: migration.id)
            let note = MigrationChange.HistoryNote(
                from: .ready, actor: "w1", step: "cleanup", reason: Reason(.guestEnded, "one is back and still ran the guest."))
            for _ in 0..<2 { try await store.finishCleanup("c", note: note) }
            #expect(try await store.cleanups().isEmpty)
            let history = try await store.history(of: migration.id)
            #expect(history.count == before.count + 1)
            #expect(history.last?.to == .ready && history.last?.from == .ready && history.last?.reason == note.reason)
            #expect(history.last?.actor == "w1" && history.last?.target == two.id)
            #expect(try await store.migration(migration.id.value) == migration)
        }
    }
}
