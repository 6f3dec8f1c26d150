import Dispatch
import SQL
import Synchronization

/// Sessions lent to one borrower each, in the order in which they asked: opened when needed, up to a number, and opened anew where one has
/// ended. Who is cancelled while waiting leaves the queue, and who has waited for too long too.
///
/// Nobody is resumed under the lock: that takes a lock of the task's, which a cancellation of the task holds when it comes here.
final class PostgresPool: Sendable {
    private enum Turn: Sendable {
        case connection(PostgresConnection)
        /// One may be opened.
        case place
    }

    private typealias Waiter = (number: UInt64, continuation: CheckedContinuation<Turn, any Error>)
    private typealias Drainers = [CheckedContinuation<Void, Never>]

    private struct State {
        var free: [PostgresConnection] = []
        /// Open or about to be.
        var places = 0
        var lent = 0
        var isClosed = false
        var waiters: [Waiter] = []
        var nextNumber: UInt64 = 0
        var drainers: Drainers = []

        /// Returns those to be told that all are back.
        mutating func returned() -> Drainers {
            lent -= 1
            guard lent == 0 else { return [] }
            defer { drainers = [] }
            return drainers
        }
    }

    private let state = Mutex(State())
    private let size: Int
    private let open: @Sendable () async throws -> PostgresConnection

    init(size: Int, open: @escaping @Sendable () async throws -> PostgresConnection) {
        self.size = size
        self.open = open
    }

    /// Borrows one.
    ///
    /// - Throws: `CancellationError`; ``SQLError`` `connection` when there is none until then, with why the last try to open one failed,
    ///   and once the pool is drained.
    func take(until deadline: ContinuousClock.Instant) async throws -> PostgresConnection {
        var pause = Duration.milliseconds(20)
        while true {
            switch try await turn(until: deadline) {
            case .connection(let connection):
                return connection
            case .place:
                do {
                    return try await open()
                } catch {
                    leavePlace()
                    guard ContinuousClock.now + pause < deadline, !(error is CancellationError) else { throw error }
                    // Nothing tells when a server takes connections again.
                    try await Task.sleep(for: pause)
                    pause = min(pause * 2, .milliseconds(500))
                }
            }
        }
    }

    /// Gives one back, to whoever waits longest. One that has ended leaves its place to be filled.
    func give(_ connection: PostgresConnection) {
        guard connection.isOpen else {
            connection.close()
            return leavePlace()
        }
        pass(.connection(connection)) { $0.free.append(connection) }
    }

    /// Gives a turn to whoever waits longest; where nobody does, `keeping` is what becomes of it.
    private func pass(_ turn: Turn, keeping: (inout State) -> Void) {
        let (waiter, drainers) = state.withLock { state -> (Waiter?, Drainers) in
            if !state.waiters.isEmpty { return (state.waiters.removeFirst(), []) }
            keeping(&state)
            return (nil, state.returned())
        }
        waiter?.continuation.resume(returning: turn)
        for drainer in drainers { drainer.resume() }
    }

    /// Lends no more, waits until all are back, and ends them.
    func close() async {
        await withCheckedContinuation { continuation in
            let (waiters, isDrained) = state.withLock { state in
                state.isClosed = true
                defer { state.waiters = [] }
                if state.lent > 0 { state.drainers.append(continuation) }
                return (state.waiters, state.lent == 0)
            }
            for waiter in waiters { waiter.continuation.resume(throwing: Self.closed) }
            if isDrained { continuation.resume() }
        }
        let connections = state.withLock { state in
            defer { state.free = [] }
            return state.free
        }
        for connection in connections { connection.close() }
    }

    private static let closed = SQLError(.connection, "the database is closed")

    private func turn(until deadline: ContinuousClock.Instant) async throws -> Turn {
        let number = state.withLock { state in
            state.nextNumber += 1
            return state.nextNumber
        }
        return try await withTaskCancellationHandler {
            try await withCheckedThrowingContinuation { continuation in
                let outcome: Result<Turn, any Error>? = state.withLock { state in
                    // A cancellation that came before is seen here, one that comes later finds the waiter in the queue.
                    if Task.isCancelled { return .failure(CancellationError()) }
                    if state.isClosed { return .failure(Self.closed) }
                    // The one used last is the likeliest to be well.
                    while let connection = state.free.popLast() {
                        if connection.isOpen {
                            state.lent += 1
                            return .success(.connection(connection))
                        }
                        connection.close()
                        state.places -= 1
                    }
                    if state.places < size {
                        state.places += 1
                        state.lent += 1
                        return .success(.place)
                    }
                    state.waiters.append((number, continuation))
                    leave(number, at: deadline)
                    return nil
                }
                if let outcome { continuation.resume(with: outcome) }
            }
        } onCancel: {
            drop(number, CancellationError())
        }
    }

    /// Whoever still waits by then has waited in vain.
    private func leave(_ number: UInt64, at deadline: ContinuousClock.Instant) {
        let left = max(.zero, deadline - .now).components
        DispatchQueue.global().asyncAfter(deadline: .now() + Double(left.seconds) + Double(left.attoseconds) * 1e-18) { [weak self] in
            self?.drop(number, SQLError(.connection, "every connection to the database was in use for too long"))
        }
    }

    private func drop(_ number: UInt64, _ error: any Error) {
        let waiter = state.withLock { state in
            state.waiters.firstIndex { $0.number == number }.map { state.waiters.remove(at: $0) }
        }
        waiter?.continuation.resume(throwing: error)
    }

    private func leavePlace() {
        pass(.place) { $0.places -= 1 }
    }
}
