import SQL
import Synchronization

/// Things lent to one borrower each, in the order in which they asked. Who is cancelled while waiting leaves the queue.
final class Pool<Item: Sendable>: Sendable {
    private struct State {
        var free: [Item]
        var lent = 0
        var closed = false
        var waiters: [(number: UInt64, continuation: CheckedContinuation<Item, any Error>)] = []
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
                state.withLock { state in
                    // A cancellation that came before is seen here, one that comes later finds the waiter in the queue.
                    if Task.isCancelled {
                        continuation.resume(throwing: CancellationError())
                    } else if state.closed {
                        continuation.resume(throwing: SQLError(.connection, "the database is closed"))
                    } else if let item = state.free.popLast() {
                        state.lent += 1
                        continuation.resume(returning: item)
                    } else {
                        state.waiters.append((number, continuation))
                    }
                }
            }
        } onCancel: {
            state.withLock { state in
                guard let index = state.waiters.firstIndex(where: { $0.number == number }) else { return }
                state.waiters.remove(at: index).continuation.resume(throwing: CancellationError())
            }
        }
    }

    /// Gives one back, to whoever waits longest.
    func give(_ item: Item) {
        state.withLock { state in
            if !state.waiters.isEmpty {
                state.waiters.removeFirst().continuation.resume(returning: item)
            } else {
                state.free.append(item)
                state.lent -= 1
                guard state.lent == 0 else { return }
                for drainer in state.drainers { drainer.resume() }
                state.drainers = []
            }
        }
    }

    /// Whether anybody waits.
    var isAwaited: Bool { state.withLock { !$0.waiters.isEmpty } }

    /// Gives one straight to whoever waits longest, after `arrangement`. Returns false, having done nothing, when nobody waits.
    func hand(on item: Item, _ arrangement: () -> Void) -> Bool {
        state.withLock { state in
            guard !state.waiters.isEmpty else { return false }
            arrangement()
            state.waiters.removeFirst().continuation.resume(returning: item)
            return true
        }
    }

    /// Lends no more, waits until all are back, and returns them.
    func drain() async -> [Item] {
        await withCheckedContinuation { continuation in
            state.withLock { state in
                state.closed = true
                for waiter in state.waiters {
                    waiter.continuation.resume(throwing: SQLError(.connection, "the database is closed"))
                }
                state.waiters = []
                if state.lent == 0 { continuation.resume() } else { state.drainers.append(continuation) }
            }
        }
        return state.withLock { state in
            defer { state.free = [] }
            return state.free
        }
    }
}
