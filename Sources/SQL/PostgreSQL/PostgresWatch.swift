import SQL
import Synchronization

/// Tells listeners of commits: our own at once, those of other processes by PostgreSQL's notifications, for which a session of its own
/// listens while anybody does.
///
/// Notifications are sent after the commits they tell of and not with them, where each would hold up all other commits of the server: one
/// for all that were made while the last one was under way. Should a process die between the two, those that listen look on their own
/// after a short while.
final class PostgresWatch: Sendable {
    private struct State {
        var listeners: [UInt64: AsyncStream<Void>.Continuation] = [:]
        var nextListener: UInt64 = 0
        var lookout: Task<Void, Never>?
        var leaving: Task<Void, Never>?
        var isClosed = false
        /// Whether a notification is on its way, and whether another has to follow.
        var isSending = false
        var isOwed = false
        var sending: Task<Void, Never>?
        /// What the lookout sent itself, as long as it has not come back.
        var proof: String?
    }

    /// Between two looks without a notification, where they arrive and where somebody between us and the server swallows them.
    private static let seldom = Duration.seconds(2)
    private static let often = Duration.milliseconds(100)
    /// Between two notifications.
    private static let gap = Duration.milliseconds(5)

    private let settings: PostgresSettings
    private let reactor: Reactor
    private let sender: PostgresPool
    private let state = Mutex(State())

    init(_ settings: PostgresSettings, reactor: Reactor, sender: PostgresPool) {
        self.settings = settings
        self.reactor = reactor
        self.sender = sender
    }

    deinit {
        state.withLock { $0.lookout }?.cancel()
    }

    func listen() -> AsyncStream<Void> {
        let (stream, continuation) = AsyncStream.makeStream(of: Void.self, bufferingPolicy: .bufferingNewest(1))
        state.withLock { state in
            guard !state.isClosed else { return continuation.finish() }
            let listener = state.nextListener
            state.nextListener += 1
            state.listeners[listener] = continuation
            continuation.onTermination = { [weak self] _ in self?.forget(listener) }
            // A commit may have come just before.
            continuation.yield()
            if state.lookout == nil {
                let before = state.leaving
                state.lookout = Task { [weak self, settings, reactor] in
                    await before?.value
                    await Self.look(settings, reactor) { [weak self] in self }
                }
            }
        }
        return stream
    }

    /// Something was committed by this process.
    func committed() {
        signal()
        state.withLock { state in
            guard !state.isClosed else { return }
            guard !state.isSending else {
                state.isOwed = true
                return
            }
            state.isSending = true
            state.sending = Task { await self.send() }
        }
    }

    func close() async {
        let (listeners, sending) = state.withLock { state in
            state.isClosed = true
            return (Array(state.listeners.values), state.sending)
        }
        await sending?.value
        // Each ends its stream, the last one the lookout.
        for listener in listeners { listener.finish() }
        await state.withLock { $0.leaving }?.value
    }

    private func signal() {
        let listeners = state.withLock { Array($0.listeners.values) }
        for listener in listeners { listener.yield() }
    }

    private func forget(_ listener: UInt64) {
        state.withLock { state in
            state.listeners[listener] = nil
            guard state.listeners.isEmpty, let lookout = state.lookout else { return }
            state.lookout = nil
            lookout.cancel()
            let before = state.leaving
            state.leaving = Task {
                await before?.value
                await lookout.value
            }
        }
    }

    /// Notifies until nothing is owed. One that fails is not tried again for ever: whoever listens on that server has lost it too.
    private func send() async {
        while true {
            await notify("")
            // The commits of a moment share one; who cancels only shortens the gap.
            if !state.withLock({ $0.isClosed }) { try? await Task.sleep(for: Self.gap) }
            let isOwed = state.withLock { state in
                defer { state.isOwed = false }
                if !state.isOwed { state.isSending = false }
                return state.isOwed
            }
            guard isOwed else { return }
        }
    }

    private func notify(_ payload: String) async {
        for _ in 0..<2 {
            do {
                let connection = try await sender.take(until: .now + .seconds(2))
                defer { sender.give(connection) }
                _ = try await connection.run("SELECT pg_notify('godwit', \(payload))")
                return
            } catch is CancellationError {
                return
            } catch {
                continue
            }
        }
    }

    // MARK: the lookout

    /// Listens until cancelled, and signals at every notification, at every new session (something may have gone by while there was none),
    /// and now and then.
    private static func look(_ settings: PostgresSettings, _ reactor: Reactor, _ watch: @escaping @Sendable () -> PostgresWatch?) async {
        var pause = Duration.milliseconds(50)
        while !Task.isCancelled {
            let (news, told) = AsyncStream.makeStream(of: String.self, bufferingPolicy: .bufferingNewest(64))
            do {
                let connection = try await PostgresConnection.open(
                    settings, reactor: reactor, prepares: false, onNotification: { told.yield($0) }, onEnd: { told.finish() })
                defer { connection.close() }
                _ = try await connection.run("LISTEN godwit")
                pause = .milliseconds(50)
                watch()?.signal()
                await hear(news, watch)
            } catch {
                told.finish()
            }
            watch()?.signal()
            // Nothing tells when a server takes connections again; who cancels ends the loop.
            try? await Task.sleep(for: pause)
            pause = min(pause * 2, .seconds(1))
        }
    }

    /// Until the session ends or the task is cancelled.
    private static func hear(_ news: AsyncStream<String>, _ watch: @escaping @Sendable () -> PostgresWatch?) async {
        let proof = "\(UInt64.random(in: 0...UInt64.max))"
        watch()?.state.withLock { $0.proof = proof }
        await withTaskGroup(of: Void.self) { group in
            group.addTask {
                for await payload in news {
                    watch()?.heard(payload)
                }
            }
            group.addTask {
                await watch()?.notify(proof)
                while !Task.isCancelled {
                    // Often, as long as it is not proven that notifications arrive: one behind a pooler never hears any. Else seldom, for
                    // those that a process which died still owed.
                    let isProven = watch()?.state.withLock { $0.proof == nil } ?? true
                    try? await Task.sleep(for: isProven ? seldom : often)
                    watch()?.signal()
                }
            }
            await group.next()
            group.cancelAll()
        }
    }

    private func heard(_ payload: String) {
        state.withLock { state in
            if state.proof == payload { state.proof = nil }
        }
        // Those with a payload are somebody's proof.
        if payload.isEmpty { signal() }
    }
}
