import SQL
import Synchronization

/// Tells listeners of commits: our own at once, those of other processes by a lookout that runs while anybody listens.
final class SQLiteWatch: Sendable {
    private struct State {
        var listeners: [UInt64: AsyncStream<Void>.Continuation] = [:]
        var nextListener: UInt64 = 0
        var lookout: (SQLiteLookout, Task<Void, Never>)?
        /// The end of those that were told to stop.
        var leaving: Task<Void, Never>?
        var closed = false
    }

    private let connection: SQLiteConnection
    private let path: String
    private let state = Mutex(State())

    init(_ connection: SQLiteConnection, path: String) {
        self.connection = connection
        self.path = path
    }

    deinit {
        state.withLock { $0.lookout?.0.stop() }
    }

    func listen() -> AsyncStream<Void> {
        let (stream, continuation) = AsyncStream.makeStream(of: Void.self, bufferingPolicy: .bufferingNewest(1))
        state.withLock { state in
            guard !state.closed else { return continuation.finish() }
            let listener = state.nextListener
            state.nextListener += 1
            state.listeners[listener] = continuation
            continuation.onTermination = { [weak self] _ in self?.forget(listener) }
            if state.lookout == nil {
                let lookout = SQLiteLookout(connection, path: path)
                let onChange: @Sendable () -> Void = { [weak self] in self?.signal() }
                state.lookout = (lookout, Task { await lookout.run(onChange) })
            } else {
                // A commit of this moment may have been told to the others already.
                continuation.yield()
            }
        }
        return stream
    }

    /// Something was committed.
    func signal() {
        let listeners = state.withLock { Array($0.listeners.values) }
        for listener in listeners { listener.yield() }
    }

    func close() async {
        let listeners = state.withLock { state in
            state.closed = true
            return Array(state.listeners.values)
        }
        // Each ends its stream, the last one the lookout.
        for listener in listeners { listener.finish() }
        await state.withLock { $0.leaving }?.value
        await connection.close()
    }

    private func forget(_ listener: UInt64) {
        state.withLock { state in
            state.listeners[listener] = nil
            guard state.listeners.isEmpty, let (lookout, task) = state.lookout else { return }
            state.lookout = nil
            lookout.stop()
            let before = state.leaving
            state.leaving = Task {
                await before?.value
                await task.value
            }
        }
    }
}
