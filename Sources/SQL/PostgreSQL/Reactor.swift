import CLibPQ
import Dispatch
import Glibc
import Synchronization

/// Waits for the sockets of all sessions of one database, on a thread of its own, so that no task's thread ever waits for a server.
final class Reactor: Sendable {
    private struct State {
        var watched: [Int32: PostgresConnection] = [:]
        var isStopped = false
    }

    /// How often overdue answers are looked for, in milliseconds.
    private static let tick: Int32 = 1000

    private let epoll: Int32
    /// Becomes readable when the thread shall look at what changed.
    private let bell: Int32
    private let state = Mutex(State())

    /// - Throws: the system's error number, where it has no descriptor left.
    init() throws(SystemError) {
        epoll = epoll_create1(Int32(EPOLL_CLOEXEC))
        guard epoll >= 0 else { throw SystemError(number: errno) }
        bell = eventfd(0, Int32(EFD_CLOEXEC | EFD_NONBLOCK))
        guard bell >= 0 else {
            let error = SystemError(number: errno)
            Glibc.close(epoll)
            throw error
        }
        control(EPOLL_CTL_ADD, bell, EPOLLIN.rawValue)
        // A queue of its own gets a thread of its own for as long as its one block runs.
        DispatchQueue(label: "godwit.postgres.reactor").async { [self] in run() }
    }

    struct SystemError: Error {
        let number: Int32
    }

    /// Tells the connection whenever its socket may be read.
    func watch(_ socket: Int32, for connection: PostgresConnection) {
        state.withLock { state in
            guard !state.isStopped else { return }
            state.watched[socket] = connection
            control(EPOLL_CTL_ADD, socket, EPOLLIN.rawValue)
        }
    }

    /// Also when the socket takes more, or no more.
    func watch(_ socket: Int32, writable: Bool) {
        control(EPOLL_CTL_MOD, socket, writable ? EPOLLIN.rawValue | EPOLLOUT.rawValue : EPOLLIN.rawValue)
    }

    /// Before the socket is closed: its number may soon be another's.
    func forget(_ socket: Int32) {
        state.withLock { state in
            state.watched[socket] = nil
            control(EPOLL_CTL_DEL, socket, 0)
        }
    }

    /// Ends the thread.
    func stop() {
        // What it held may end here, and then asks to be forgotten: outside of the lock.
        let watched = state.withLock { state in
            defer { state.watched = [:] }
            state.isStopped = true
            return state.watched
        }
        ring()
        for connection in watched.values { connection.close() }
    }

    deinit {
        Glibc.close(epoll)
        Glibc.close(bell)
    }

    private func ring() {
        var one: UInt64 = 1
        _ = write(bell, &one, 8)
    }

    private func control(_ operation: Int32, _ socket: Int32, _ events: UInt32) {
        var event = epoll_event(events: events, data: epoll_data_t(fd: socket))
        _ = epoll_ctl(epoll, operation, socket, &event)
    }

    private func run() {
        var events = [epoll_event](repeating: epoll_event(), count: 64)
        var lastTick = ContinuousClock.now
        while !state.withLock({ $0.isStopped }) {
            let count = epoll_wait(epoll, &events, Int32(events.count), Self.tick)
            for index in 0..<max(0, Int(count)) {
                let socket = events[index].data.fd
                if socket == bell {
                    var drained: UInt64 = 0
                    _ = read(bell, &drained, 8)
                } else {
                    // A socket that was closed meanwhile and is another's now: that one looks in vain.
                    state.withLock { $0.watched[socket] }?.ready()
                }
            }
            let now = ContinuousClock.now
            guard now - lastTick > .milliseconds(Int64(Self.tick)) else { continue }
            lastTick = now
            for connection in state.withLock({ Array($0.watched.values) }) { connection.endIfOverdue(now) }
        }
    }
}
