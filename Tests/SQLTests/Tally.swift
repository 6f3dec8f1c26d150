import Synchronization
import Testing

/// What writers have begun and what was acknowledged to them, by number.
final class Tally: Sendable {
    private let state = Mutex((begun: Int64(0), acknowledged: Set<Int64>(), last: Int64.max))

    /// - Parameter last: the highest number that it gives out.
    init(atMost last: Int64 = .max) {
        state.withLock { $0.last = last }
    }

    var begun: Int64 { state.withLock { $0.begun } }
    var acknowledged: Set<Int64> { state.withLock { $0.acknowledged } }

    /// Nil once it is over.
    func next() -> Int64? {
        state.withLock { state in
            guard state.begun < state.last else { return nil }
            state.begun += 1
            return state.begun
        }
    }

    func acknowledge(_ number: Int64) { state.withLock { _ = $0.acknowledged.insert(number) } }

    func end() { state.withLock { $0.last = $0.begun } }

    /// Waits until so many more are acknowledged, for a minute at most.
    func further(_ count: Int) async throws {
        let (wanted, deadline) = (acknowledged.count + count, ContinuousClock.now + .seconds(60))
        while acknowledged.count < wanted {
            try #require(.now < deadline)
            try await Task.sleep(for: .milliseconds(10))
        }
    }
}
