/// The engine's deadlines and bounds.
package struct EngineSettings: Hashable, Sendable {
    /// Migrations that one worker runs at the same time.
    package var concurrency = 16
    /// Cleanups likewise.
    package var cleanupConcurrency = 4
    /// How long a claim lasts unless renewed. It is renewed at a third.
    package var leaseMS: Int64 = 15_000
    /// How often the row is looked at for what others ask of a migration under way: a cancellation, other parameters.
    package var control = Duration.milliseconds(500)
    /// How long a cleanup is held.
    package var cleanupLeaseMS: Int64 = 60_000
    /// How long an agent that does not answer is asked again before that counts as its answer: it may be restarting.
    package var patience = Duration.seconds(60)
    /// The same for what can be left to a cleanup, or is told as awaited and asked again.
    package var shortPatience = Duration.seconds(3)
    /// Before another attempt.
    package var retry = Backoff(base: .seconds(1), cap: .seconds(60))
    /// Before another look at what is awaited.
    package var awaiting = Backoff(base: .milliseconds(500), cap: .seconds(15))
    /// Before the store or an agent that did not answer is asked again.
    package var reconnect = Backoff(base: .milliseconds(50), cap: .seconds(1))
    package var cleanup = Backoff(base: .seconds(1), cap: .seconds(60))
    /// How often a step may find that another migration took the room that it had chosen.
    package var overbookedAtMost = 20

    package init() {}

    package var lease: Duration { .milliseconds(leaseMS) }
}
