import Testing

@testable import Store

@Suite struct SharesTests {
    private func stream(_ batch: String?, running: Int, _ waiting: Int) -> Shares.Stream {
        Shares.Stream(batch: batch, running: running, waiting: (0..<waiting).map { Shares.Waiting(id: "\(batch ?? "single")\($0)") })
    }

    private func numbers(_ places: Int, _ streams: [Shares.Stream]) -> [Int] {
        var slots = HostSlots([:], unplaced: 0)
        return Shares.divide(places, among: streams, &slots).map(\.ids.count)
    }

    @Test func `who has least under way goes first, until all have as many`() {
        #expect(numbers(4, [stream("a", running: 0, 9), stream("b", running: 0, 9)]) == [2, 2])
        #expect(numbers(4, [stream("a", running: 3, 9), stream("b", running: 0, 9)]) == [1, 3])
        #expect(numbers(3, [stream("a", running: 100, 9), stream("b", running: 0, 1)]) == [2, 1])
        #expect(numbers(1, [stream(nil, running: 0, 1), stream("big", running: 0, 9)]) == [1, 0])
        #expect(numbers(1, [stream(nil, running: 5, 1), stream("small", running: 0, 9)]) == [0, 1])
        #expect(numbers(9, [stream("a", running: 0, 2), stream("b", running: 0, 3)]) == [2, 3])
        #expect(numbers(0, [stream("a", running: 0, 2)]) == [0])
        #expect(numbers(5, []) == [])
    }

    @Test func `within a batch the order is kept`() {
        var slots = HostSlots([:], unplaced: 0)
        #expect(Shares.divide(2, among: [stream("a", running: 0, 3)], &slots).first?.ids == ["a0", "a1"])
    }

    private func slots(_ hosts: [String: (out: Int, into: Int)], unplaced: Int = 0, away: Set<String> = []) -> HostSlots {
        var all: [String: HostSlots.Host] = [:]
        for (name, free) in hosts { all[name] = HostSlots.Host(outbound: free.out, inbound: free.into, isTarget: !away.contains(name)) }
        return HostSlots(all, unplaced: unplaced)
    }

    private func chosen(_ waiting: [(String, String)], _ slots: HostSlots, target: String? = nil, isRescue: Bool = false) -> [String] {
        var slots = slots
        let stream = Shares.Stream(
            batch: "a", running: 0, waiting: waiting.map { Shares.Waiting(id: $0.0, source: $0.1) }, target: target, isRescue: isRescue)
        return Shares.divide(9, among: [stream], &slots).first?.ids ?? []
    }

    @Test func `who leaves a host without slots holds up nobody behind it`() {
        let waiting = [("1", "full"), ("2", "full"), ("3", "one"), ("4", "one"), ("5", "two")]
        #expect(chosen(waiting, slots(["full": (0, 2), "one": (1, 2), "two": (2, 2)])) == ["3", "5"])
        #expect(chosen(waiting, slots(["full": (-1, 9), "one": (0, 9), "two": (0, 9)])) == [])
        #expect(chosen(waiting, slots(["full": (0, 9), "one": (0, 9), "two": (0, 9)]), isRescue: true).count == 5)
    }

    @Test func `no more begin than the targets have slots for, and all where there is no target to wait for`() {
        let waiting = [("1", "a"), ("2", "a"), ("3", "b")]
        // Its own slots serve nobody who leaves it.
        #expect(chosen(waiting, slots(["a": (9, 9), "b": (9, 1)])) == ["1", "3"])
        #expect(chosen(waiting, slots(["a": (9, 0), "b": (9, 2)], unplaced: 1)) == ["1"])
        #expect(chosen(waiting, slots(["a": (9, 0), "b": (9, 0), "c": (9, 2)], away: ["c"])) == [])
        #expect(chosen(waiting, slots(["a": (9, 2), "b": (9, 2)], away: ["a", "b"])) == ["1", "2", "3"])
        #expect(chosen(waiting, slots(["a": (9, 9), "b": (9, 9), "c": (9, 1)]), target: "c") == ["1"])
        #expect(chosen(waiting, slots(["a": (9, 9), "b": (9, 9), "c": (9, 1)], away: ["c"]), target: "c").count == 3)
    }
}
