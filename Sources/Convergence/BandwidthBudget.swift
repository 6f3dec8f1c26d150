/// One budget for all streams of a migration: it says what each may take, so that all together never take more.
///
/// QEMU keeps every stream to its own limit, and the limits sum up to the budget; so that it is also used, the split follows what is
/// needed, every second anew. The mirrors come first: a disk that falls behind the guest's writes never ends. What they do not need is
/// memory's.
package struct BandwidthBudget: Hashable, Sendable {
    /// How a mirror stands.
    package struct Mirror: Hashable, Sendable {
        package var disk: String
        /// Bytes copied since its start.
        package var done: Int64
        /// Bytes left to copy.
        package var left: Int64

        package init(disk: String, done: Int64, left: Int64) {
            self.disk = disk
            self.done = done
            self.left = left
        }
    }

    /// Bytes a second; 0 is without limit.
    package struct Split: Hashable, Sendable {
        package var mirrors: [String: Int64] = [:]
        package var memory: Int64 = 0
    }

    private static let intervalMS: Int64 = 1000

    /// Bytes a second; nil without limit.
    private var budget: Int64?
    private var isSendingMemory = false
    private var before: [String: Int64] = [:]
    private var atMS: Int64?
    /// What stands.
    package private(set) var split: Split?

    package init() {}

    /// Looks at the streams.
    ///
    /// - Parameters:
    ///   - budget: bytes a second; nil or 0 is without limit.
    ///   - atMS: now, on a clock that only grows.
    /// - Returns: a split other than the one that stands; nil while that is right. One comes at once when the budget or the set of streams is
    ///   another, else once a second at most.
    package mutating func look(budget: Int64?, mirrors: [Mirror], isSendingMemory: Bool, atMS: Int64) -> Split? {
        let budget = budget.flatMap { $0 > 0 ? $0 : nil }
        let isOther =
            split == nil || budget != self.budget || isSendingMemory != self.isSendingMemory
            || Set(mirrors.map(\.disk)) != Set(self.before.keys)
        let elapsed = self.atMS.map { atMS - $0 } ?? 0
        guard isOther || elapsed >= Self.intervalMS else { return nil }
        // When memory begins, what the mirrors moved until now is the disks' content, and tells nothing of what the guest writes.
        let begins = isSendingMemory && !self.isSendingMemory
        let needs = mirrors.map { mirror in
            let moved = begins ? 0 : before[mirror.disk].map { max(0, mirror.done - $0) } ?? 0
            return (mirror.disk, elapsed > 0 ? moved * 1000 / elapsed + mirror.left : mirror.left)
        }
        self.budget = budget
        self.isSendingMemory = isSendingMemory
        self.atMS = atMS
        before = Dictionary(mirrors.map { ($0.disk, $0.done) }) { first, _ in first }
        let next = Self.split(budget, needs: needs, isSendingMemory: isSendingMemory)
        guard next != split else { return nil }
        split = next
        return next
    }

    /// Divides a budget by needs, in bytes a second. The parts sum up to no more than it, and but for what whole numbers lose, to all of it.
    static func split(_ budget: Int64?, needs: [(disk: String, need: Int64)], isSendingMemory: Bool) -> Split {
        var split = Split()
        guard let budget else {
            for (disk, _) in needs { split.mirrors[disk] = 0 }
            return split
        }
        let count = Int64(needs.count)
        // Nobody is without: a limit of 0 would be none, and what has nothing to do now may have in a moment.
        let forMemory = isSendingMemory ? max(1, budget / 10) : 0
        let least = count == 0 ? 0 : max(1, min(budget / 50, budget / 4 / count))
        var left = budget - forMemory
        // From the most modest on: each gets what it needs and a quarter more, at most an even part of what is left.
        var open = count
        for (disk, need) in needs.sorted(by: { ($0.need, $0.disk) < ($1.need, $1.disk) }) {
            let part = max(least, min(need + need / 4, left / open))
            split.mirrors[disk] = part
            left -= part
            open -= 1
        }
        if isSendingMemory {
            split.memory = max(1, forMemory + left)
        } else if left > 0, count > 0 {
            for disk in split.mirrors.keys { split.mirrors[disk, default: 0] += left / count }
        }
        return split
    }
}
