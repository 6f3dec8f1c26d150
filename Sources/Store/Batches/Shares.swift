/// Who of the same priority begins next: each place goes to the batch that has the fewest under way, so that a small one is through soon
/// beside a big one. All single migrations together count as one batch, the first of all.
enum Shares {
    struct Waiting: Hashable {
        var id: String
        /// The host that it leaves; nil where that is not asked about.
        var source: String?
    }

    struct Stream {
        /// Nil is of the single ones.
        var batch: String?
        var running: Int
        /// In their order.
        var waiting: [Waiting]
        /// Where all of them must go; nil where they may go anywhere.
        var target: String?
        /// Begun and not yet placed.
        var unplaced = 0
        var isRescue = false
    }

    /// - Parameters:
    ///   - streams: of those equal the earlier one goes first.
    ///   - slots: what the hosts have left; what begins is taken off.
    /// - Returns: for each stream in its order those that begin. One whose hosts have no slot is passed over, and holds up none after it.
    static func divide(_ places: Int, among streams: [Stream], _ slots: inout HostSlots) -> [(batch: String?, ids: [String])] {
        var taken = [[String]](repeating: [], count: streams.count)
        var next = [Int](repeating: 0, count: streams.count)
        for _ in 0..<max(0, places) {
            for (index, stream) in streams.enumerated() {
                while next[index] < stream.waiting.count, !isFree(stream.waiting[next[index]], stream, taken[index].count, slots) {
                    next[index] += 1
                }
            }
            let open = streams.indices.filter { next[$0] < streams[$0].waiting.count }
            guard let first = open.min(by: { streams[$0].running + taken[$0].count < streams[$1].running + taken[$1].count }) else { break }
            let chosen = streams[first].waiting[next[first]]
            taken[first].append(chosen.id)
            next[first] += 1
            if let source = chosen.source { slots.begin(from: source) }
        }
        return zip(streams, taken).map { ($0.batch, $1) }
    }

    private static func isFree(_ waiting: Waiting, _ stream: Stream, _ taken: Int, _ slots: HostSlots) -> Bool {
        guard let source = waiting.source else { return true }
        return slots.places(from: source, to: stream.target, unplacedThere: stream.unplaced + taken, isRescue: stream.isRescue) > 0
    }
}
