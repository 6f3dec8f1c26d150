import Client
import Fleet
import Store

/// Turns the store's rows into what the API shows, with the names that belong to ids.
struct Views {
    private let hosts: [HostID: String]
    private let servers: [ServerID: String]

    /// - Parameter names: Those of servers that still are.
    init(hosts: [Host], names: [ServerID: String] = [:]) {
        self.hosts = Dictionary(uniqueKeysWithValues: hosts.map { ($0.id, $0.name) })
        self.servers = names
    }

    func named(_ host: HostID) -> Named { Named(id: host.value, name: hosts[host] ?? "") }
    func named(_ server: ServerID) -> Named { Named(id: server.value, name: servers[server] ?? "") }

    func server(_ server: Server, migration: MigrationID?, consoleLog: String? = nil) -> ServerView {
        let description = server.description
        return ServerView(
            id: server.id.value, name: server.name, status: ShownStatus(server.status, isPaused: server.isPaused), host: named(server.host),
            vcpus: description.vcpus,
            memoryMB: description.memoryBytes >> 20, cpuModel: description.cpuModel, machine: description.machine,
            accelerator: description.accelerator, firmware: description.firmware,
            boot: description.boot.map { BootView(kernel: $0.kernel, initrd: $0.initrd, commandLine: $0.commandLine) },
            disks: description.disks.map {
                DiskView(
                    name: $0.name, sizeBytes: $0.sizeBytes, format: $0.format, bus: $0.bus, storage: $0.storage, base: $0.bases?.first?.name
                )
            }, cdrom: description.cdrom, tpm: description.tpm,
            nics: description.nics.map { NICView(name: $0.name, network: $0.network, mac: $0.mac) },
            consoleLog: consoleLog, epoch: server.epoch.value, note: server.note, migration: migration?.value,
            createdAt: WireTime(server.createdAt))
    }

    func migration(_ migration: Migration) -> MigrationView {
        MigrationView(
            id: migration.id.value, server: named(migration.server), mode: migration.mode, state: migration.state,
            direction: migration.direction, attempt: migration.attempt, maxAttempts: migration.maxAttempts,
            sourceHost: named(migration.source), targetHost: migration.target.map(named),
            options: OptionsView(migration.options, preferHost: migration.options.preferHost.map(named)), reason: migration.reason,
            cancelRequested: migration.cancelRequested,
            awaiting: migration.awaiting, progress: migration.progress.map(ProgressView.init),
            blackout: migration.blackout.map(BlackoutView.init),
            actor: migration.actor, priority: migration.priority, createdAt: WireTime(migration.createdAt),
            finishedAt: migration.finishedAt.map(WireTime.init),
            deadlineAt: migration.deadlineAt.map(WireTime.init),
            totalMS: migration.finishedAt.map { $0 - migration.createdAt }, batch: migration.batch?.value)
    }

    func transition(_ row: Transition) -> TransitionView {
        TransitionView(
            sequence: row.sequence, migration: row.migration.value, server: named(row.server), mode: row.mode, at: WireTime(row.at),
            from: row.from, to: row.to, direction: row.direction, attempt: row.attempt,
            epoch: row.epoch.value, sourceHost: named(row.source), targetHost: row.target.map(named), actor: row.actor, step: row.step,
            reason: row.reason, numbers: row.numbers, hash: row.hash)
    }

    func cleanup(_ cleanup: Cleanup) -> CleanupView {
        CleanupView(
            id: cleanup.id, kind: cleanup.kind, migration: cleanup.migration.value, server: named(cleanup.server),
            host: named(cleanup.host),
            attempt: cleanup.attempt, tries: cleanup.tries, dueAt: WireTime(cleanup.dueAt), lastError: cleanup.lastError)
    }
}

extension HostView {
    init(_ load: HostLoad, at now: Timestamp) {
        let (host, facts) = (load.host, load.host.facts)
        self.init(
            id: host.id.value, name: host.name, condition: facts == nil ? .initial : host.maintenance ? .maintaining : .running,
            status: host.isOnline(at: now) ? .online : .offline, enabled: host.enabled, maintenance: host.maintenance,
            vcpusOvercommit: host.overcommit.vcpus, memoryOvercommit: host.overcommit.memory, inboundSlots: host.slots.inbound,
            outboundSlots: host.slots.outbound, agentURL: host.agentURL, architecture: facts?.architecture, cpuModel: facts?.cpuModel,
            microcode: facts?.microcode,
            kernel: facts?.kernel, qemuVersion: facts?.qemuVersion, machineTypes: facts?.machineTypes, accelerator: facts?.accelerator,
            cpus: facts?.cpus, vcpusTaken: load.vcpusTaken, memoryTotalMB: facts.map { $0.memoryBytes >> 20 },
            memoryTakenMB: load.memoryTakenBytes >> 20,
            storages: facts?.storages.map { storage in
                StorageView(
                    name: storage.name, kind: storage.kind, capacityBytes: storage.capacityBytes, freeBytes: storage.freeBytes,
                    reservedBytes: load.storageReservedBytes[storage.name] ?? 0)
            } ?? [], networks: facts?.networks.map { NetworkView(name: $0.name, kind: $0.kind) } ?? [], guests: facts?.guests.count,
            runningGuests: facts.map { $0.guests.count { $0.status == .running } },
            kept: facts?.kept.flatMap { $0.isEmpty ? nil : $0.map(\.id) },
            inboundMigrations: load.inboundMigrations, outboundMigrations: load.outboundMigrations, recentFailures: load.recentFailures,
            warnings: facts?.warnings ?? [])
    }
}

extension ProgressView {
    init(_ progress: Progress) {
        self.init(
            diskTotalBytes: progress.diskTotal, diskDoneBytes: progress.diskDone, memoryTotalBytes: progress.memoryTotal,
            memoryRemainingBytes: progress.memoryRemaining, memoryTransferredBytes: progress.memoryTransferred,
            rateBytesPerSecond: progress.rate, dirtyRateBytesPerSecond: progress.dirtyRate, round: progress.round,
            throttlePercent: progress.throttle, etaMS: progress.etaMS)
    }
}

extension BlackoutView {
    init(_ blackout: Blackout) {
        self.init(
            lastPassUS: blackout.lastPassUS, diskDrainUS: blackout.diskDrainUS, deviceStateUS: blackout.deviceStateUS,
            handoverUS: blackout.handoverUS, resumeUS: blackout.resumeUS, totalUS: blackout.totalUS)
    }
}
