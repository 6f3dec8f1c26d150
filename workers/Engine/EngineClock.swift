/// Time as the engine sees it: a reading that only grows, and sleep. Leases are judged by it and never by the wall clock.
package protocol EngineClock: Sendable {
    /// Time since a moment that stays the same while the process lives. Goes on while the machine is suspended.
    func now() -> Duration
    /// Throws `CancellationError` when the task is cancelled before.
    func sleep(for duration: Duration) async throws
}

/// The machine's own.
package struct SystemClock: EngineClock {
    private static let start = ContinuousClock().now

    package init() {}

    package func now() -> Duration { ContinuousClock().now - Self.start }

    package func sleep(for duration: Duration) async throws {
        guard duration > .zero else { return try Task.checkCancellation() }
        try await Task.sleep(for: duration, clock: .continuous)
    }
}
