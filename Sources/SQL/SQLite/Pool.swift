import SQL
import Synchronization

/// Things lent to one borrower each, in the order in which they asked. Who is cancelled while waiting leaves the queue.
///
/// Nobody is resumed under the lock: that takes a lock of the task's, which a cancellation of the task holds when it comes here.
final class Pool<Item: Sendable>: Sendable {
    private typealias Waiter = (number: UInt64, continuation: CheckedContinuation<Item, any Error>)

    private struct State {
        var free: [Item]
        var lent = 0
        var closed = false
        var waiters: [Waiter] = []
        var nextNumber: UInt64 = 0
        var drainers: [CheckedContinuation<Void, Never>] = []
    }

    private let state: Mutex<State>

    init(_ items: [Item]) {
        self.state = Mutex(State(free: items))
    }

    /// Borrows one. Throws `CancellationError`, and ``SQLError`` `connection` once the pool is drained.
    func take() async throws -> Item {
        let number = state.withLock { state in
            state.nextNumber += 1
            return state.nextNumber
        }
        return try await withTaskCancellationHandler {
            try await withCheckedThrowingContinuation { continuation in
                let outcome: Result<Item, any Error>? = state.withLock { state in
                    // A cancellation that came before is seen here, one that comes later finds the waiter in the queue.
                    if Task.isCancelled { return .failure(CancellationError()) }
                    if state.closed { return .failure(Self.closed) }
                    if let item = state.free.popLast() {
                        state.lent += 1
                        return .success(item)
                    }
                    state.waiters.append((number, continuation))
                    return nil
                }
                if let outcome { continuation.resume(with: outcome) }
            }
        } onCancel: {
            let waiter = state.withLock { state in
                state.waiters.firstIndex { $0.number == number }.map { state.waiters.remove(at: $0) }
            }
            waiter?.continuation.resume(throwing: CancellationError())
        }
    }

    /// Gives one back, to whoever waits longest.
    func give(_ item: Item) {
        let (waiter, drainers) = state.withLock { state -> (Waiter?, [CheckedContinuation<Void, Never>]) in
            if !state.waiters.isEmpty { return (state.waiters.removeFirst(), []) }
            state.free.append(item)
            state.lent -= 1
            guard state.lent == 0 else { return (nil, []) }
            defer { state.drainers = [] }
            return (nil, state.drainers)
        }
        waiter?.continuation.resume(returning: item)
        for drainer in drainers { drainer.resume() }
    }

    /// Whether anybody waits.
    var isAwaited: Bool { state.withLock { !$0.waiters.isEmpty } }

    /// Gives one straight to whoever waits longest, after `arrangement`. Returns false, having done nothing, when nobody waits.
    func hand(on item: Item, _ arrangement: () -> Void) -> Bool {
        let waiter = state.withLock { state -> Waiter? in
            guard !state.waiters.isEmpty else { return nil }
            arrangement()
            return state.waiters.removeFirst()
        }
        waiter?.continuation.resume(returning: item)
        return waiter != nil
    }

    /// Lends no more, waits until all are back, and returns them.
    func drain() async -> [Item] {
        await withCheckedContinuation { continuation in
            let (waiters, isDrained) = state.withLock { state in
                state.closed = true
                defer { state.waiters = [] }
                if state.lent > 0 { state.drainers.append(continuation) }
                return (state.waiters, state.lent == 0)
            }
            for waiter in waiters { waiter.continuation.resume(throwing: Self.closed) }
            if isDrained { continuation.resume() }
        }
        return state.withLock { state in
            defer { state.free = [] }
            return state.free
        }
    }

    private static var closed: SQLError { SQLError(.connection, "the database is closed") }
}
