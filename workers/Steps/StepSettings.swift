/// The deadlines that steps keep.
package struct StepSettings: Hashable, Sendable {
    /// How long one look at an agent waits for news.
    package var pollMS: Int64 = 500
    /// The source handed over and its agent has not reached the target's in this time: the worker relays.
    package var relayAfter = Duration.milliseconds(500)
    /// The target owns the guest and does not run it: told as awaited after this time.
    package var runAfter = Duration.seconds(10)

    package init() {}
}
