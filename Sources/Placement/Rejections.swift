import Fleet

/// Why hosts cannot take a server, one row a host.
///
/// What is known of each is the filter that it did not pass; the words of a row are made when it is read, from the hosts as they were. Those of
/// ten thousand take longer than all filters, and of a table that long a person is shown a few.
package struct Rejections: RandomAccessCollection, Equatable, Sendable {
    private let examination: Examination
    private let loads: [HostLoad]
    private var refused: [Refused]

    /// A host, by its place among all.
    private struct Refused {
        let place: Int32
        let filter: PlacementFilter
    }

    /// - Parameter filters: what the examination says of each host.
    init(_ examination: Examination, _ loads: [HostLoad], filters: [PlacementFilter?]) {
        var examination = examination
        examination.explains = true
        self.examination = examination
        self.loads = loads
        refused = []
        refused.reserveCapacity(filters.count)
        for (place, filter) in filters.enumerated() {
            if let filter { refused.append(Refused(place: Int32(place), filter: filter)) }
        }
    }

    package var startIndex: Int { 0 }
    package var endIndex: Int { refused.count }

    package subscript(index: Int) -> Rejection {
        let (place, filter) = (Int(refused[index].place), refused[index].filter)
        let refusal = examination.refusal(loads, at: place)
        assert(refusal?.filter == filter, "a host is refused for one thing when it is looked at and for another when that is told")
        let host = loads[place].host
        return Rejection(host: host.id, name: host.name, filter: filter, wanted: refusal?.wanted ?? "", found: refusal?.found ?? "")
    }

    /// The rows' filters, without a word made.
    package var filters: some RandomAccessCollection<PlacementFilter> { refused.lazy.map { $0.filter } }

    /// Those of some filters.
    package func only(_ isMeant: (PlacementFilter) -> Bool) -> Self {
        var rest = self
        rest.refused = refused.filter { isMeant($0.filter) }
        return rest
    }

    /// By the hosts' names, the source last.
    package func byName() -> Self {
        var ordered = self
        let isInOrder = zip(refused, refused.dropFirst()).allSatisfy { name($0) <= name($1) }
        if !isInOrder { ordered.refused.sort { name($0) < name($1) } }
        if let source = ordered.refused.firstIndex(where: { Int($0.place) == examination.sourcePlace }) {
            ordered.refused.append(ordered.refused.remove(at: source))
        }
        return ordered
    }

    private func name(_ refused: Refused) -> String { loads[Int(refused.place)].host.name }

    /// What is read counts.
    package static func == (left: Self, right: Self) -> Bool { left.elementsEqual(right) }
}
