import Testing

@testable import Store

@Suite struct SharesTests {
    private func stream(_ batch: String?, running: Int, _ waiting: Int) -> Shares.Stream {
        Shares.Stream(batch: batch, running: running, waiting: (0..<waiting).map { "\(batch ?? "single")\($0)" })
    }

    private func numbers(_ places: Int, _ streams: [Shares.Stream]) -> [Int] {
        Shares.divide(places, among: streams).map(\.ids.count)
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
        #expect(Shares.divide(2, among: [stream("a", running: 0, 3)]).first?.ids == ["a0", "a1"])
    }
}
