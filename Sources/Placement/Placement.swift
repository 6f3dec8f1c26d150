package import Fleet

/// Where a server could go: filters, then a ranking. Pure, and linear in the number of hosts.
package enum Placement {
    /// The best host for a request.
    ///
    /// Of the hosts that pass every filter the one that keeps the largest share of its scarcest resource free wins, shares being compared
    /// in steps of a twentieth; then the one with fewest migrations on their way into it; then the larger share; then the name.
    package static func choose(_ request: PlacementRequest, among loads: [HostLoad], now: Timestamp) -> PlacementOutcome {
        let examination = Examination(request, loads, now: now)
        var best: (rank: Rank, host: HostID)?
        for load in loads where examination.cheapRejection(load) == nil {
            let rank = Rank(load, examination)
            // The costly filters are asked only of a host that would win.
            if let best, !rank.isBetter(than: best.rank) { continue }
            if examination.costlyRejection(load) == nil { best = (rank, load.host.id) }
        }
        if let best { return .chosen(best.host) }
        return .rejected(rejections(loads, examination))
    }

    /// Every host that could take the server, best first, and for each of the others why it cannot.
    package static func survey(
        _ request: PlacementRequest, among loads: [HostLoad], now: Timestamp
    ) -> (candidates: [HostID], rejections: [Rejection]) {
        let examination = Examination(request, loads, now: now)
        let rejections = rejections(loads, examination)
        let rejected = Set(rejections.map(\.host))
        let ranked = loads.filter { !rejected.contains($0.host.id) }
            .map { (rank: Rank($0, examination), host: $0.host.id) }
            .sorted { $0.rank.isBetter(than: $1.rank) }
        return (ranked.map(\.host), rejections)
    }

    private static func rejections(_ loads: [HostLoad], _ examination: Examination) -> [Rejection] {
        loads.compactMap { examination.cheapRejection($0) ?? examination.costlyRejection($0) }
    }
}

/// How well a host that could take the server suits.
struct Rank {
    let step: Int
    let inbound: Int
    let freeShare: Double
    let name: String

    init(_ load: HostLoad, _ examination: Examination) {
        let needs = examination.needs
        let overcommit = examination.request.overcommit
        var share = 0.0
        if let facts = load.host.facts {
            let cpus = overcommit.vcpus(of: facts)
            let memory = overcommit.memoryBytes(of: facts)
            share = min(
                Self.share(of: Double(cpus), left: Double(cpus - load.vcpusTaken - needs.vcpus)),
                Self.share(of: Double(memory), left: Double(memory - load.memoryTakenBytes - needs.memoryBytes)))
        }
        freeShare = share
        step = Int((share * 20).rounded(.down))
        inbound = load.inboundMigrations
        name = load.host.name
    }

    private static func share(of whole: Double, left: Double) -> Double { whole > 0 ? left / whole : 0 }

    func isBetter(than other: Rank) -> Bool {
        if step != other.step { return step > other.step }
        if inbound != other.inbound { return inbound < other.inbound }
        if freeShare != other.freeShare { return freeShare > other.freeShare }
        return name < other.name
    }
}
