import Client
import Fleet
import Placement
import Store

/// What a batch would do: every server placed in the order of the batch against one snapshot of the fleet, each in what those before it
/// leave. Nothing is submitted, and no host is asked.
struct BatchPlanner {
    let store: Store

    private struct Way: Hashable {
        let mode: Mode
        let source: HostID
        let target: HostID
    }

    func plan(_ draft: BatchDraft) async throws -> BatchPlanView {
        let judged = try await store.judgeBatch(draft)
        let (loads, now) = try await store.hostLoadsNow()
        let servers = Dictionary(uniqueKeysWithValues: try await store.servers(ServerFilter()).map { ($0.id, $0) })
        let views = Views(hosts: loads.map(\.host), names: servers.mapValues(\.name))
        let grouped = Set(try await store.groups().flatMap(\.members).map(\.server))
        let storages = Dictionary(uniqueKeysWithValues: loads.map { ($0.host.id, $0.host.facts?.storages ?? []) })
        var plan = BatchPlan(loads, maxParallel: draft.maxParallel, now: now)
        var known: [Way: Experience] = [:]
        var moves: [BatchPlanView.Move] = []
        for (number, judgement) in judged.modes.enumerated() {
            guard let server = servers[judgement.server] else { continue }
            let options = judgement.mode == .live ? draft.liveOptions : draft.coldOptions
            let request = PlacementRequest(
                server: server.id, description: server.description, source: server.host, mode: judgement.mode, options: options,
                companions: grouped.contains(server.id) ? try await store.companions(of: server.id) : [])
            var move = BatchPlanView.Move(
                server: views.named(server.id), mode: judgement.mode, sourceHost: views.named(server.host))
            switch plan.place(request, as: MigrationID("plan-\(number)")) {
            case .stays(let rejections):
                move.reason = PlacementFailure(server: server.name, rejections: rejections).reason
            case .goes(let target, let wave):
                move.targetHost = views.named(target)
                move.wave = wave
                let way = Way(mode: judgement.mode, source: server.host, target: target)
                let experience: Experience
                if let seen = known[way] {
                    experience = seen
                } else {
                    experience = try await store.experience(
                        way.mode, between: way.source, and: way.target, encrypted: options.enableTLS)
                    known[way] = experience
                }
                move.atMostMS = atMost(server, experience, options, storages[server.host] ?? [])
            }
            moves.append(move)
        }
        return BatchPlanView(moves: moves, lines: judged.flaws)
    }

    /// With every byte that its disks may have, at the speed of earlier migrations on this way.
    private func atMost(_ server: Server, _ experience: Experience, _ options: MigrationOptions, _ storages: [Storage]) -> Int64? {
        let disk = Needs(server.description, storages: storages).localBytes.values.reduce(0, +)
        let limit = options.maxBandwidthMB.map { $0 * 1_000_000 } ?? .max
        guard let overhead = experience.overheadMS, let memoryRate = experience.memoryRate, memoryRate > 0 else { return nil }
        var span = overhead + Int64(Double(server.description.memoryBytes) / Double(min(memoryRate, limit)) * 1000)
        if disk > 0 {
            guard let diskRate = experience.diskRate, diskRate > 0 else { return nil }
            span += Int64(Double(disk) / Double(min(diskRate, limit)) * 1000)
        }
        return span
    }
}
