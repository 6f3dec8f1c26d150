package import Fleet

/// Where the servers of a batch would go one after another, each in what those before it leave. Pure.
package struct BatchPlan: Sendable {
    private var fleet: FleetSnapshot
    private let maxParallel: Int?
    private let now: Timestamp
    private var departures: [HostID: Int] = [:]
    private var arrivals: [HostID: Int] = [:]
    private var waves: [Int: Int] = [:]
    /// All waves before it are full.
    private var open = 0

    /// - Parameters:
    ///   - loads: as they are; migrations on their way count with their room, and not with their slots, which they leave meanwhile.
    ///   - maxParallel: how many of the batch may be under way at once.
    package init(_ loads: [HostLoad], maxParallel: Int?, now: Timestamp) {
        fleet = FleetSnapshot(
            loads.map { load in
                var load = load
                (load.inboundMigrations, load.outboundMigrations) = (0, 0)
                return load
            })
        self.maxParallel = maxParallel
        self.now = now
    }

    package enum Outcome: Sendable {
        /// - wave: those of one could be under way at the same time by the hosts' slots and the batch's limit; from 1 on.
        case goes(to: HostID, wave: Int)
        /// With one rejection for every host.
        case stays(Rejections)
    }

    /// The next server in the batch's order; what it takes is no more there for those after it.
    package mutating func place(_ request: PlacementRequest, as migration: MigrationID) -> Outcome {
        switch Placement.choose(request, in: fleet, now: now) {
        case .rejected(let rejections): return .stays(rejections)
        case .chosen(let host):
            let needs = Needs(request.description, storages: fleet[request.source]?.host.facts?.storages ?? [])
            let reservation = needs.reservation(of: migration, on: host, storages: fleet[host]?.host.facts?.storages ?? [])
            fleet.hold(reservation, from: request.source)
            fleet.settle(reservation, from: request.source)
            return .goes(to: host, wave: wave(from: request.source, to: host))
        }
    }

    private mutating func wave(from source: HostID, to target: HostID) -> Int {
        let outbound = max(1, fleet[source]?.host.slots.outbound ?? 1)
        let inbound = max(1, fleet[target]?.host.slots.inbound ?? 1)
        var wave = max(departures[source, default: 0] / outbound, arrivals[target, default: 0] / inbound)
        if let maxParallel {
            while waves[open, default: 0] >= maxParallel { open += 1 }
            wave = max(wave, open)
            while waves[wave, default: 0] >= maxParallel { wave += 1 }
        }
        departures[source, default: 0] += 1
        arrivals[target, default: 0] += 1
        waves[wave, default: 0] += 1
        return wave + 1
    }
}
