import Client
import Fleet
import Foundation
import Testing

/// A fleet and one server of it, which is moved again and again while something dies.
struct CrashStage: Sendable {
    let fleet: NetFleet
    let points: CrashPoints

    init(_ fleet: NetFleet) {
        self.fleet = fleet
        points = CrashPoints(folder: URL(filePath: fleet.failpointFolder))
    }

    /// The server of a way, as it has to be before.
    private func recipe(_ way: CrashWay) -> GuestRecipe {
        let disks =
            way == .rescue ? ["format=qcow2,storage=shared"] : ["format=qcow2", "format=qcow2,storage=shared"]
        return GuestRecipe(
            name: "vm-\(way.rawValue)", memoryMB: 96, dirtyMBs: 2, dirtySetMB: 4, diskDataMB: way.isCancelled ? 48 : 8, disks: disks,
            otherDiskMB: 16)
    }

    /// Makes the server where there is none that is as it has to be.
    func prepare(_ way: CrashWay) async throws -> ServerView {
        let recipe = recipe(way)
        if let there = try await fleet.decode([ServerView].self, "server-list").first(where: { $0.name == recipe.name }) {
            let wanted: ShownStatus = way == .cold || way == .coldCancelled ? .ready : .running
            let isWorn = try await written(there).map { $0.records > 8_000 || $0.boots > 1 } ?? true
            if there.status == wanted, !isWorn { return there }
            try await remove(there)
        }
        let started = try await fleet.startGuest(recipe)
        if way.isLive || way == .rescue { return started }
        try await fleet.stop(recipe.name)
        return try await fleet.server(recipe.name)
    }

    /// Deletes the server of a way.
    func clear(_ way: CrashWay) async throws {
        for server in try await fleet.decode([ServerView].self, "server-list") where server.name == recipe(way).name {
            try await remove(server)
        }
    }

    private func remove(_ server: ServerView) async throws {
        try await eventually("server \(server.name) is deleted", within: .seconds(120)) {
            _ = try await fleet.godwit("server-stop", server.id, "--force")
            let answer = try await fleet.godwit("server-delete", server.id)
            return answer.status == 0 || answer.error.contains("no server")
        }
    }

    /// Asks for the migration of a way.
    func submit(_ way: CrashWay, _ server: ServerView) async throws -> MigrationView {
        switch way {
        case .live: return try await fleet.migrate(server.name)
        case .liveCancelled: return try await fleet.migrate(server.name, "--max-bandwidth-mb", "12")
        case .cold: return try await fleet.move(server.name)
        case .coldCancelled: return try await fleet.move(server.name, "--max-bandwidth-mb", "8")
        case .rescue:
            try await fleet.powerOff(server.host.name)
            try await eventually("\(server.host.name) is offline", within: .seconds(60)) {
                try await fleet.hosts().contains { $0.name == server.host.name && $0.status == .offline }
            }
            return try await fleet.move(server.name, "--rescue-mode", "--confirm-host-down", "--auto-start")
        }
    }

    /// Calls the migration off where its way says so and it is far enough for that.
    func callOff(_ way: CrashWay, _ migration: MigrationView) async throws -> Bool {
        guard way.isCancelled else { return true }
        let isFarEnough =
            way == .liveCancelled
            ? migration.state == .syncingMemory : migration.state == .syncingDisk && (migration.progress?.diskDoneBytes ?? 0) > 4 << 20
        guard isFarEnough else { return false }
        return try await fleet.godwit("migration-cancel", migration.id).status == 0
    }

    // MARK: the victim

    /// Lets it die; false when there is no such thing now.
    func kill(_ victim: CrashVictim, of migration: MigrationView, _ way: CrashWay) async throws -> Bool {
        switch victim {
        case .controller: try await fleet.slay("controller")
        case .worker: for worker in NetFleet.workers { try await fleet.slay(worker) }
        case .sourceAgent where way == .rescue: try await fleet.powerOn(migration.sourceHost.name)
        case .sourceAgent: try await fleet.slay(migration.sourceHost.name)
        case .targetAgent:
            guard let target = migration.targetHost else { return false }
            try await fleet.slay(target.name)
        case .sourceQEMU, .targetQEMU:
            let host = victim == .sourceQEMU ? migration.sourceHost : migration.targetHost
            guard let host, let pid = try fleet.guests(of: migration.server.id)[host.name] else { return false }
            guard Glibc.kill(pid, SIGKILL) == 0 else { return false }
            try await eventually("QEMU \(pid) is gone", within: .seconds(10)) {
                try fleet.guests(of: migration.server.id)[host.name] != pid
            }
        case .store: try await fleet.store.interrupt(for: .seconds(6))
        }
        return true
    }

    /// Has all daemons run again.
    func revive() async throws {
        for daemon in ["controller"] + NetFleet.workers where try fleet.pids(of: daemon).isEmpty { try await fleet.revive(daemon) }
        for host in fleet.hostNames where try fleet.isOn(host) && fleet.pids(of: host).isEmpty { try await fleet.revive(host) }
    }

    // MARK: what is seen from outside

    struct Written: Decodable, Sendable {
        var records: UInt64
        var boots: [String]
        var problems: [String]
    }

    /// What stands on the server's first disk, at the host where the store places it.
    func written(_ server: ServerView) async throws -> (records: UInt64, boots: Int, problems: [String])? {
        guard let disk = try fleet.disks(of: server.id, on: server.host.name).min(by: { $0.lastPathComponent < $1.lastPathComponent })
        else { return nil }
        let answer = try await execute([
            "python3", TestGuest.checkers.appending(path: "check-records").path, disk.path, "--boots", "9", "--json",
        ])
        guard let found = try? JSONDecoder().decode(Written.self, from: Data(answer.output.utf8)) else { return nil }
        return (found.records, found.boots.count, found.problems)
    }

    /// The last record that the guest said it has on its disk.
    func acknowledged(_ server: ServerView) throws -> UInt64 {
        try fleet.console(of: server).split(separator: " record=").last.flatMap { UInt64($0.prefix { $0.isNumber }) } ?? 0
    }
}
