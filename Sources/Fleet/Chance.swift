/// The system's randomness, or in the tasks of a simulation what stands for it, so that a seed repeats every draw.
package struct Chance: RandomNumberGenerator {
    /// A source of randomness that is not the system's.
    package struct Source: Sendable {
        let next: @Sendable () -> UInt64

        package init(next: @escaping @Sendable () -> UInt64) {
            self.next = next
        }
    }

    /// Draws for the tasks in which a simulation sets it; elsewhere nil.
    @TaskLocal package static var source: Source?

    private var system = SystemRandomNumberGenerator()

    package init() {}

    package mutating func next() -> UInt64 {
        if let source = Self.source { return source.next() }
        return system.next()
    }
}
