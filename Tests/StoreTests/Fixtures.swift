import Fleet
import SQL
import Store

let mebibyte: Int64 = 1 << 20
let gibibyte: Int64 = 1 << 30

extension HostFacts {
    /// A host with so many cores and so much memory, and the storages `local` and `pool`.
    static func sample(
        cpus: Int = 4, memoryBytes: Int64 = 8 * gibibyte, localFreeBytes: Int64 = 100 * gibibyte, sharedFreeBytes: Int64 = 100 * gibibyte
    ) -> HostFacts {
        HostFacts(
            architecture: "x86_64", cpuModel: "Sample CPU", microcode: "0x1", kernel: "6.1.0", qemuVersion: "7.2.22",
            machineTypes: ["pc-i440fx-7.2"], machineAliases: ["pc": "pc-i440fx-7.2"], guestCPUModels: ["qemu64-v1"], accelerator: .tcg,
            warnings: [], cpus: cpus, memoryBytes: memoryBytes, pageSizeBytes: 4096,
            storages: [
                Storage(name: "local", kind: .local, capacityBytes: 200 * gibibyte, freeBytes: localFreeBytes),
                Storage(name: "pool", kind: .shared, capacityBytes: 200 * gibibyte, freeBytes: sharedFreeBytes),
            ],
            networks: [Network(name: "lan", kind: .user)], guests: [])
    }
}

extension Server {
    static func sample(
        _ name: String, on host: HostID, vcpus: Int = 1, memoryBytes: Int64 = 128 * mebibyte, storage: String = "local"
    ) -> Server {
        let id = ServerID.unique()
        return Server(
            id: id, name: name, status: .deploying, host: host, epoch: .none,
            description: GuestDescription(
                server: id, name: name, vcpus: vcpus, memoryBytes: memoryBytes, cpuModel: "qemu64-v1", machine: "pc-i440fx-7.2",
                accelerator: .tcg, firmware: .bios, boot: nil,
                disks: [.init(name: "disk0", sizeBytes: gibibyte, format: .qcow2, bus: .virtioBlk, storage: storage)], cdrom: nil,
                nics: [.init(name: "nic0", network: "lan", mac: "52:54:00:00:00:01")]),
            note: nil, createdAt: .now)
    }
}

extension Store {
    /// A host whose agent has answered.
    func addHost(_ name: String, facts: HostFacts = .sample()) async throws -> Host {
        let host = try await registerHost(name: name, agentURL: "https://\(name):7070")
        try await recordHealth(of: host.id, facts: facts, validForMS: 60_000)
        // Tests of slots set their own.
        return try await setHostLimits(host.id, inbound: 1000, outbound: 1000)
    }

    /// A server that has been deployed.
    func addServer(
        _ name: String, on host: Host, status: ServerStatus = .running, vcpus: Int = 1, memoryBytes: Int64 = 128 * mebibyte,
        storage: String = "local"
    ) async throws -> Server {
        let server = try await createServer(
            .sample(name, on: host.id, vcpus: vcpus, memoryBytes: memoryBytes, storage: storage), owner: "test", leaseMS: 60_000)
        try await finishOperation(server.id, epoch: server.epoch, status: status, note: nil)
        return try await self.server(server.id.value)
    }

    /// A rescue is submitted for a host that has gone by then.
    func submit(_ server: Server, mode: Mode = .live, maxAttempts: Int = 3, priority: Int = 0) async throws -> Migration {
        if mode == .rescue { try await recordHealth(of: server.host, facts: .sample(), validForMS: 0) }
        let options = MigrationOptions(confirmHostDown: mode == .rescue)
        return try await submitMigration(
            server: server.id, mode: mode, options: options, maxAttempts: maxAttempts, priority: priority, actor: "ada")
    }

    /// Submits and claims one.
    func claim(_ server: Server, mode: Mode = .live, worker: String = "w1", leaseMS: Int64 = 60_000) async throws -> Migration {
        let id = try await submit(server, mode: mode).id
        let claimed = try await claimMigrations(worker: worker, leaseMS: leaseMS, limit: 1_000)
        guard let migration = claimed.first(where: { $0.id == id }) else { throw Missing(what: "a claim of \(id)") }
        return migration
    }

    /// Takes a claimed migration one state further.
    @discardableResult
    func advance(
        _ migration: Migration, to state: MigrationState, worker: String = "w1", _ adjust: (inout MigrationChange) -> Void = { _ in }
    ) async throws -> Migration {
        var next = migration
        next.state = state
        if state == .scheduling { next.attempt = max(1, next.attempt) }
        var change = MigrationChange(next)
        change.history = .init(from: migration.state, actor: worker)
        adjust(&change)
        return try await apply(change, worker: worker)
    }

    /// Takes a claimed live migration to `switching` on a target.
    func bring(_ migration: Migration, toSwitchingOn target: Host, worker: String = "w1", vcpus: Int = 1) async throws -> Migration {
        var migration = try await advance(migration, to: .scheduling, worker: worker)
        migration = try await advance(migration, to: .syncingDisk, worker: worker) { change in
            change.migration.target = target.id
            change.reserve = .sample(migration.id, on: target, vcpus: vcpus)
        }
        migration = try await advance(migration, to: .syncingMemory, worker: worker)
        return try await advance(migration, to: .switching, worker: worker)
    }
}

extension Reservation {
    static func sample(
        _ migration: MigrationID, on host: Host, vcpus: Int = 1, memoryBytes: Int64 = 128 * mebibyte,
        storageBytes: [String: Int64] = ["local": gibibyte]
    ) -> Reservation {
        Reservation(migration: migration, host: host.id, vcpus: vcpus, memoryBytes: memoryBytes, storageBytes: storageBytes)
    }
}

struct Missing: Error {
    let what: String
}

extension Store {
    /// Ends a claimed migration as failed, after the rollback that this takes.
    @discardableResult
    func fail(_ migration: Migration, worker: String = "w1") async throws -> Migration {
        let reason = Reason(.targetLost, "The target went away.")
        let turned = try await advance(migration, to: migration.state, worker: worker) { change in
            change.migration.direction = .rollback
            change.migration.reason = reason
        }
        return try await advance(turned, to: .failed, worker: worker) { change in
            change.migration.direction = .forward
            change.release = true
            change.serverStatus = .running
        }
    }
}
