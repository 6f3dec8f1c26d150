import Synchronization

/// The connections of one run, to be ended together.
final class Switchboard: Sendable {
    private let state = Mutex<(connections: [NBDConnection], isAborted: Bool)>(([], false))

    var isAborted: Bool { state.withLock { $0.isAborted } }

    func add(_ connection: NBDConnection) {
        let isLate = state.withLock { state in
            state.connections.append(connection)
            return state.isAborted
        }
        if isLate { connection.abort() }
    }

    func abort() {
        let connections = state.withLock { state in
            state.isAborted = true
            return state.connections
        }
        for connection in connections { connection.abort() }
    }
}
