import GRDB
import SQL
import Synchronization

/// Tells listeners of commits: our own at once, those of other processes by asking SQLite's counter of them while anybody listens.
final class SQLiteWatch: Sendable {
    private struct State {
        var listeners: [UInt64: AsyncStream<Void>.Continuation] = [:]
        var nextListener: UInt64 = 0
        var asking: Task<Void, Never>?
        var closed = false
    }

    /// How long after a commit of somebody the next look follows, and up to what that grows while nothing happens.
    static let shortest = Duration.milliseconds(2)
    static let longest = Duration.milliseconds(20)

    private let connection: SQLiteConnection
    private let state = Mutex(State())

    init(_ connection: SQLiteConnection) {
        self.connection = connection
    }

    func listen() -> AsyncStream<Void> {
        let (stream, continuation) = AsyncStream.makeStream(of: Void.self, bufferingPolicy: .bufferingNewest(1))
        state.withLock { state in
            guard !state.closed else { return continuation.finish() }
            let listener = state.nextListener
            state.nextListener += 1
            state.listeners[listener] = continuation
            continuation.onTermination = { [weak self] _ in self?.forget(listener) }
            if state.asking == nil {
                state.asking = Task { [weak self, connection] in
                    await Self.ask(connection) { self?.signal() }
                }
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
        let (listeners, asking) = state.withLock { state in
            state.closed = true
            return (Array(state.listeners.values), state.asking)
        }
        for listener in listeners { listener.finish() }
        asking?.cancel()
        await asking?.value
        await connection.close()
    }

    private func forget(_ listener: UInt64) {
        state.withLock { state in
            state.listeners[listener] = nil
            guard state.listeners.isEmpty, !state.closed else { return }
            state.asking?.cancel()
            state.asking = nil
        }
    }

    /// Asks until cancelled. The first answer counts as a change: a commit may have come between the call to listen and it.
    private static func ask(_ connection: SQLiteConnection, _ signal: () -> Void) async {
        var known: Int64?
        var pause = shortest
        while !Task.isCancelled {
            do {
                let version = try await connection.run { try Int64.fetchOne($0.cachedStatement(sql: "PRAGMA data_version")) }
                if version != known {
                    known = version
                    pause = shortest
                    signal()
                } else {
                    pause = min(pause * 5 / 4, longest)
                }
            } catch {
                // Listeners find out for themselves what the matter is.
                signal()
                pause = .seconds(1)
            }
            do { try await Task.sleep(for: pause) } catch { return }
        }
    }
}
