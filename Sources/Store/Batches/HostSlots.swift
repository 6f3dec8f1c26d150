/// What hosts have left of their slots for migrations, for the question of which servers of a batch are worth being begun. Exact is only the
/// reservation that comes later; what is begun too many waits there, what is begun too few is begun a moment later.
struct HostSlots {
    struct Host {
        /// Left for migrations out of it and into it.
        var outbound: Int
        var inbound: Int
        /// Enabled, not in maintenance, and seen of late.
        var isTarget: Bool
    }

    private var hosts: [String: Host]
    /// Begun and not yet placed: each of them is about to take a slot of some target.
    private var unplaced: Int
    private var targets: Int
    /// Of all targets together.
    private var inbound: Int

    init(_ hosts: [String: Host], unplaced: Int) {
        self.hosts = hosts
        self.unplaced = unplaced
        let targets = hosts.values.filter(\.isTarget)
        self.targets = targets.count
        inbound = targets.map { max(0, $0.inbound) }.reduce(0, +)
    }

    /// How many more may begin of those of a batch that leave a host.
    ///
    /// - Parameters:
    ///   - target: where all of the batch must go; nil where they may go anywhere. Where there is none to go to at all nothing is held back:
    ///     that nobody waits for, and it is to be told.
    ///   - unplacedThere: of the batch, begun and not yet placed.
    func places(from source: String, to target: String?, unplacedThere: Int, isRescue: Bool) -> Int {
        // Whoever rescues asks nothing of the source, which is down.
        let outbound = isRescue ? .max : hosts[source]?.outbound ?? .max
        if let target {
            guard let host = hosts[target], host.isTarget else { return outbound }
            return min(outbound, host.inbound - unplacedThere)
        }
        let itself = hosts[source].flatMap { $0.isTarget ? $0 : nil }
        guard targets > (itself == nil ? 0 : 1) else { return outbound }
        return min(outbound, inbound - max(0, itself?.inbound ?? 0) - unplaced)
    }

    /// Another one begins.
    mutating func begin(from source: String) {
        hosts[source]?.outbound -= 1
        unplaced += 1
    }
}
