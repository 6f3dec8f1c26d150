import Fleet
import Synchronization

/// A claim as its holder knows it: until when it surely lasts, by the holder's own clock, and whether the migration shall end early.
final class Lease: Sendable {
    private let end: Mutex<Duration>
    let length: Duration
    /// Somebody asked for the migration to end.
    let cancelRequested = Latch()
    /// The attempt's completion deadline has passed.
    let deadlinePassed = Latch()

    /// - Parameter asked: the clock before the store was asked, so that the store's lease surely ends later than this one.
    init(asked: Duration, length: Duration) {
        end = Mutex(asked + length)
        self.length = length
    }

    func renewed(asked: Duration) {
        end.withLock { $0 = max($0, asked + length) }
    }

    /// Work must have stopped by then: a tenth before the end, for what is still on its way.
    var deadline: Duration { end.withLock { $0 } - length / 10 }
}
