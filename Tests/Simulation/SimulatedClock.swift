import Engine
import Fleet

/// A process's own clocks: the one that only grows runs a little too fast or too slow, the one on the wall is off by some time.
struct SimulatedClock: EngineClock {
    let loop: Loop
    /// In millionths: 100 gains 0.1 ms a second.
    let drift: Int64
    /// Milliseconds that the wall clock is ahead.
    let skewMS: Int64

    /// When every world begins, in milliseconds since 1970.
    static let beginning: Int64 = 1_800_000_000_000

    func now() -> Duration { .microseconds(loop.now + loop.now * drift / 1_000_000) }

    func sleep(for duration: Duration) async throws {
        let (seconds, attoseconds) = duration.components
        let wanted = seconds * 1_000_000 + attoseconds / 1_000_000_000_000
        try await loop.sleep(max(0, wanted - wanted * drift / 1_000_000))
    }

    var wall: Timestamp.Clock {
        Timestamp.Clock { [loop, skewMS] in Timestamp(milliseconds: Self.beginning + loop.now / 1000 + skewMS) }
    }
}
