import Testing

@testable import Convergence

@Suite struct BandwidthBudgetTests {
    private static let megabyte: Int64 = 1_000_000
    private typealias Mirror = BandwidthBudget.Mirror

    @Test(arguments: [1, 2, 100, 1000, 10_000] as [Int64], [0, 1, 2, 3, 8, 24])
    func `all parts together never exceed the budget, use it, and nobody is without`(_ budgetMB: Int64, _ disks: Int) {
        let budget = budgetMB * Self.megabyte
        let kinds: [Int64] = [0, 1, 1000, budget / 10, budget, budget * 1000]
        for seed in 0..<216 {
            let needs = (0..<disks).map { disk in ("disk\(disk)", kinds[(seed / (disk % 3 == 0 ? 1 : disk % 3 == 1 ? 6 : 36)) % 6]) }
            for isSendingMemory in [true, false] {
                let split = BandwidthBudget.split(budget, needs: needs, isSendingMemory: isSendingMemory)
                let sum = split.mirrors.values.reduce(0, +) + split.memory
                #expect(sum <= budget)
                #expect(disks == 0 && !isSendingMemory || sum > budget - Int64(disks + 1))
                #expect(split.mirrors.count == disks && split.mirrors.values.allSatisfy { $0 > 0 })
                #expect(split.memory > 0 || !isSendingMemory)
            }
        }
    }

    @Test func `mirrors get what they need and memory the rest`() {
        let split = BandwidthBudget.split(
            100 * Self.megabyte, needs: [("disk0", 20 * Self.megabyte), ("disk1", 0)], isSendingMemory: true)
        #expect(split.mirrors == ["disk0": 25 * Self.megabyte, "disk1": 2 * Self.megabyte])
        #expect(split.memory == 73 * Self.megabyte)
    }

    @Test func `a disk that takes all leaves memory a tenth`() {
        let split = BandwidthBudget.split(100 * Self.megabyte, needs: [("disk0", 1 << 50)], isSendingMemory: true)
        #expect(split.memory == 10 * Self.megabyte)
    }

    @Test func `while disks are copied, one that is done leaves its part to the others`() {
        let split = BandwidthBudget.split(100 * Self.megabyte, needs: [("disk0", 1 << 40), ("disk1", 0)], isSendingMemory: false)
        #expect(split.mirrors["disk0"] ?? 0 > 95 * Self.megabyte && split.mirrors["disk1"] ?? 0 >= Self.megabyte)
    }

    @Test func `without a budget there is no limit`() {
        var budget = BandwidthBudget()
        let split = budget.look(budget: nil, mirrors: [Mirror(disk: "disk0", done: 0, left: 9)], isSendingMemory: true, atMS: 0)
        #expect(split?.mirrors == ["disk0": 0] && split?.memory == 0)
    }

    @Test func `memory does not wait for what the disks took before it began`() {
        var budget = BandwidthBudget()
        let all = 100 * Self.megabyte
        _ = budget.look(budget: all, mirrors: [Mirror(disk: "disk0", done: 0, left: all)], isSendingMemory: false, atMS: 0)
        let begun = budget.look(budget: all, mirrors: [Mirror(disk: "disk0", done: all, left: 0)], isSendingMemory: true, atMS: 1000)
        #expect(begun?.memory == 98 * Self.megabyte)
        // What the guest writes meanwhile counts from the next look on.
        let later = budget.look(
            budget: all, mirrors: [Mirror(disk: "disk0", done: 2 * all, left: 0)], isSendingMemory: true, atMS: 2000)
        #expect(later?.memory == 10 * Self.megabyte)
    }

    @Test func `it divides anew once a second by what was moved, and at once for another budget`() {
        var budget = BandwidthBudget()
        func look(_ total: Int64?, done: Int64, left: Int64, at: Int64, memory: Bool = true) -> BandwidthBudget.Split? {
            budget.look(
                budget: total, mirrors: [Mirror(disk: "disk0", done: done, left: left)], isSendingMemory: memory, atMS: at)
        }
        let all = 100 * Self.megabyte
        #expect(look(all, done: 0, left: 1 << 40, at: 0, memory: false)?.mirrors["disk0"] == all)
        #expect(look(all, done: 50 * Self.megabyte, left: 0, at: 500)?.memory ?? 0 > 0)
        #expect(look(all, done: 60 * Self.megabyte, left: 0, at: 900) == nil)
        // 10 MB in the second since the last division.
        let second = look(all, done: 60 * Self.megabyte, left: 0, at: 1500)
        #expect(second?.mirrors["disk0"] == 12_500_000 && second?.memory == 87_500_000)
        #expect(look(all, done: 70 * Self.megabyte, left: 0, at: 2500) == nil, "nothing changed")
        #expect(look(all / 2, done: 70 * Self.megabyte, left: 0, at: 2600)?.memory ?? all <= all / 2)
        #expect(look(nil, done: 70 * Self.megabyte, left: 0, at: 2700)?.memory == 0)
    }
}
