import Dispatch
import Synchronization

/// Wakes whoever waits for something to have changed. It counts its rings, so that none is missed between a look and a wait.
package final class Bell: Sendable {
    private struct State {
        var rings: UInt64 = 0
        var lastWaiter: UInt64 = 0
        var waiters: [UInt64: CheckedContinuation<Void, Never>] = [:]
    }

    private static let queue = DispatchQueue(label: "godwit.bell")
    private let state = Mutex(State())

    package init() {}

    package var rings: UInt64 { state.withLock { $0.rings } }

    package func ring() {
        let waiters = state.withLock { state in
            state.rings += 1
            defer { state.waiters = [:] }
            return state.waiters.values
        }
        for waiter in waiters { waiter.resume() }
    }

    /// Returns once it has rung more often than `count`, at the deadline, or when the task is cancelled.
    package func wait(after count: UInt64, until deadline: ContinuousClock.Instant) async {
        let remaining = deadline - .now
        guard remaining > .zero else { return }
        let number = state.withLock { state in
            state.lastWaiter += 1
            return state.lastWaiter
        }
        await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                let waits = state.withLock { state in
                    guard state.rings <= count, !Task.isCancelled else { return false }
                    state.waiters[number] = continuation
                    return true
                }
                guard waits else { return continuation.resume() }
                let (seconds, attoseconds) = remaining.components
                Self.queue.asyncAfter(deadline: .now() + .nanoseconds(Int(seconds) * 1_000_000_000 + Int(attoseconds / 1_000_000_000))) {
                    [weak self] in self?.release(number)
                }
            }
        } onCancel: {
            release(number)
        }
    }

    private func release(_ number: UInt64) {
        state.withLock { $0.waiters.removeValue(forKey: number) }?.resume()
    }
}

/// A value that others wait on to change.
package final class Watched<Value: Sendable>: Sendable {
    private let content: Mutex<Value>
    package let bell = Bell()

    package init(_ value: Value) {
        self.content = Mutex(value)
    }

    package var value: Value { content.withLock { $0 } }

    /// Changes it and wakes those that wait.
    package func change(_ body: (inout Value) -> Void) {
        content.withLock { body(&$0) }
        bell.ring()
    }

    /// The value once it meets the condition, or as it is at the deadline.
    package func wait(until deadline: ContinuousClock.Instant, _ condition: (Value) -> Bool) async -> Value {
        while true {
            let rings = bell.rings
            let now = value
            if condition(now) || ContinuousClock.now >= deadline || Task.isCancelled { return now }
            await bell.wait(after: rings, until: deadline)
        }
    }
}

/// Lets one order at a time through, in the order of their coming.
package final class Turnstile: Sendable {
    private struct State {
        var isTaken = false
        var queue: [CheckedContinuation<Void, Never>] = []
    }

    private let state = Mutex(State())

    package init() {}

    package func pass<Result>(
        isolation: isolated (any Actor)? = #isolation, _ body: () async throws -> Result
    ) async rethrows -> Result {
        await withCheckedContinuation { continuation in
            let isFree = state.withLock { state in
                guard state.isTaken else {
                    state.isTaken = true
                    return true
                }
                state.queue.append(continuation)
                return false
            }
            if isFree { continuation.resume() }
        }
        defer {
            let next = state.withLock { state -> CheckedContinuation<Void, Never>? in
                guard !state.queue.isEmpty else {
                    state.isTaken = false
                    return nil
                }
                return state.queue.removeFirst()
            }
            next?.resume()
        }
        return try await body()
    }
}

/// Runs what blocks for a moment where it holds up no task.
package func offloaded<Result: Sendable>(_ body: @escaping @Sendable () throws -> Result) async throws -> Result {
    try await withCheckedThrowingContinuation { continuation in
        DispatchQueue.global().async { continuation.resume(with: Swift.Result(catching: body)) }
    }
}
