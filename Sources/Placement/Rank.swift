import Fleet

/// How well a host that could take the server suits.
///
/// What counts first is the share that stays free of its scarcest resource, in steps of a twentieth; every attempt that failed there within
/// the last hour counts as a step less, so that a host on which everything fails does not attract everything by being empty. Then come the
/// migrations under way into it and out of it, then the exact share, then the name.
struct Rank {
    let step: Int
    let migrations: Int
    let freeShare: Double

    static let steps = 20.0
    /// Failures beyond these make a host no worse.
    static let failuresAtMost = 10

    init(vcpusLeft: Int64, of vcpus: Int64, memoryLeft: Int64, of memory: Int64, migrations: Int, failures: Int) {
        freeShare = min(Self.share(vcpusLeft, of: vcpus), Self.share(memoryLeft, of: memory))
        step = Int((freeShare * Self.steps).rounded(.down)) - min(failures, Self.failuresAtMost)
        self.migrations = migrations
    }

    @inline(__always)
    private static func share(_ left: Int64, of whole: Int64) -> Double { whole > 0 ? Double(left) / Double(whole) : 0 }

    /// Nil when neither is better but by name.
    @inline(__always)
    func isBetter(than other: Rank) -> Bool? {
        if step != other.step { return step > other.step }
        if migrations != other.migrations { return migrations < other.migrations }
        if freeShare != other.freeShare { return freeShare > other.freeShare }
        return nil
    }
}
