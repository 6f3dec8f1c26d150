package import Fleet

/// Where a server could go: filters, then a ranking. Pure, and linear in the number of hosts with a few nanoseconds each.
package enum Placement {
    /// The best host for a request; see ``Rank`` for what best means.
    package static func choose(_ request: PlacementRequest, in fleet: FleetSnapshot, now: Timestamp) -> PlacementOutcome {
        let source = fleet.place(of: request.source)
        let preferred = request.options.preferHost.map(fleet.place(of:))
        return choose(request, fleet.loads, fleet.rows, kinds: fleet.kinds, source: source, preferred: preferred, now: now)
    }

    /// The same, once.
    package static func choose(_ request: PlacementRequest, among loads: [HostLoad], now: Timestamp) -> PlacementOutcome {
        let (rows, kinds) = FleetSnapshot.rows(of: loads)
        func place(of host: HostID) -> Int? { loads.firstIndex { $0.host.id == host } }
        return choose(
            request, loads, rows, kinds: kinds, source: place(of: request.source), preferred: request.options.preferHost.map(place(of:)),
            now: now)
    }

    private static func choose(
        _ request: PlacementRequest, _ loads: [HostLoad], _ rows: [FleetSnapshot.Row], kinds: [Int], source: Int?, preferred: Int??,
        now: Timestamp
    ) -> PlacementOutcome {
        let examination = Examination(request, among: loads, source: source, now: now)
        var refused: [PlacementFilter?] = []
        if let place = best(examination, loads, rows, kinds: kinds, preferred: preferred, &refused) { return .chosen(loads[place].host.id) }
        return .rejected(Rejections(examination, loads, filters: examination.filters(loads, rows, kinds: kinds, known: refused)))
    }

    /// Every host that could take the server, best first, and for each of the others why it cannot.
    package static func survey(
        _ request: PlacementRequest, in fleet: FleetSnapshot, now: Timestamp
    ) -> (candidates: [HostID], rejections: Rejections) {
        let examination = Examination(request, among: fleet.loads, source: fleet.place(of: request.source), now: now)
        let filters = examination.filters(fleet.loads, fleet.rows, kinds: fleet.kinds)
        var candidates = filters.indices.filter { filters[$0] == nil }.map { (rank: examination.rank(fleet.rows[$0]), place: $0) }
        candidates.sort { $0.rank.isBetter(than: $1.rank) ?? ($0.place < $1.place) }
        return (candidates.map { fleet.loads[$0.place].host.id }, Rejections(examination, fleet.loads, filters: filters))
    }

    /// The place of the best host that passes every filter. Filters that read more than numbers are asked only of a host that would win, and
    /// what they say about a kind of host once for all of that kind.
    /// - Parameter refused: what such a filter said of each host that came so far; left empty when none was refused by one.
    private static func best(
        _ examination: Examination, _ loads: [HostLoad], _ rows: [FleetSnapshot.Row], kinds: [Int], preferred: Int??,
        _ refused: inout [PlacementFilter?]
    ) -> Int? {
        let request = examination.request
        if examination.outbound != nil || (request.mode == .rescue && !examination.localDisks.isEmpty) { return nil }
        let (vcpus, memory) = (Int64(examination.needs.vcpus), examination.needs.memoryBytes)
        let now = examination.now.milliseconds
        var places = rows.indices
        if let preferred {
            guard let preferred else { return nil }
            places = preferred..<(preferred + 1)
        }
        /// Of each kind: not looked at yet, fit, unfit.
        var verdicts = [Bool?](repeating: nil, count: kinds.count)
        var best: (rank: Rank, place: Int)?
        loads.withUnsafeBufferPointer { loads in
            guard let first = loads.baseAddress else { return }
            func isFit(_ kind: Int) -> Bool {
                if let verdict = verdicts[kind] { return verdict }
                let isFit = examination.kindRefusal(first + kinds[kind]) == nil
                verdicts[kind] = isFit
                return isFit
            }
            rows.withUnsafeBufferPointer { rows in
                for place in places {
                    let row = rows[place]
                    guard row.isOpen, row.vcpusLeft >= vcpus, row.memoryLeft >= memory, row.inboundLeft > 0, now < row.healthyUntil,
                        place != examination.sourcePlace
                    else { continue }
                    let rank = examination.rank(row)
                    if let best, !(rank.isBetter(than: best.rank) ?? (first[place].host.name < first[best.place].host.name)) { continue }
                    guard isFit(Int(row.kind)) else { continue }
                    if !request.excluded.isEmpty, request.excluded[first[place].host.id] != nil { continue }
                    guard let refusal = examination.ownRefusal(first + place) else {
                        best = (rank, place)
                        continue
                    }
                    if refused.isEmpty { refused = Array(repeating: nil, count: rows.count) }
                    refused[place] = refusal.filter
                }
            }
        }
        return best?.place
    }
}

extension Examination {
    @inline(__always)
    func rank(_ row: FleetSnapshot.Row) -> Rank {
        Rank(
            vcpusLeft: row.vcpusLeft - Int64(needs.vcpus), of: row.vcpus, memoryLeft: row.memoryLeft - needs.memoryBytes, of: row.memory,
            migrations: Int(row.migrations), failures: Int(row.failures))
    }
}
