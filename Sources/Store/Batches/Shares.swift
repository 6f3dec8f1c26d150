/// Who of the same priority begins next: each place goes to the batch that has the fewest under way, so that a small one is through soon
/// beside a big one. All single migrations together count as one batch, the first of all.
enum Shares {
    struct Stream {
        /// Nil is of the single ones.
        var batch: String?
        var running: Int
        /// In their order.
        var waiting: [String]
    }

    /// - Parameter streams: of those equal the earlier one goes first.
    /// - Returns: for each stream in its order those that begin.
    static func divide(_ places: Int, among streams: [Stream]) -> [(batch: String?, ids: [String])] {
        var taken = [Int](repeating: 0, count: streams.count)
        for _ in 0..<max(0, places) {
            let open = streams.indices.filter { taken[$0] < streams[$0].waiting.count }
            guard let next = open.min(by: { streams[$0].running + taken[$0] < streams[$1].running + taken[$1] }) else { break }
            taken[next] += 1
        }
        return zip(streams, taken).map { ($0.batch, Array($0.waiting.prefix($1))) }
    }
}
