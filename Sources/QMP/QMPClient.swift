package import Logging

package final class QMPClient: Sendable {
    /// How long a command may take when nothing else is said.
    package static let defaultDeadline: Duration = .seconds(10)
    /// The socket.
    package let path: String

    private init(path: String) {
        self.path = path
    }

    package static func connect(
        path: String, enableOOB: Bool = false, deadline: Duration = .seconds(5), logger: Logger = Logger(label: "godwit.qmp")
    ) async throws -> QMPClient {
        throw QMPError(.couldNotConnect, "not built yet")
    }

    /// The release that greeted.
    package var version: QEMUVersion { QEMUVersion(major: 0, minor: 0, micro: 0) }

    /// Whether `executeOutOfBand` works.
    package var isOutOfBandEnabled: Bool { false }

    /// The process that made the socket, from the kernel (`SO_PEERCRED`): QEMU's own, also after `-daemonize`.
    package var peerPID: Int32 { 0 }

    package var isOpen: Bool { false }

    /// Returns when the connection is gone, or when the task is cancelled.
    package func closed() async {}

    package func close() {}

    package func events() -> AsyncStream<QMPEvent> { AsyncStream { $0.finish() } }

    @discardableResult
    package func execute(
        _ command: String, _ arguments: JSONValue = [:], deadline: Duration = defaultDeadline
    ) async throws -> JSONValue {
        throw QMPError(.connectionClosed, "not built yet")
    }

    package func execute<Reply: Decodable & Sendable>(
        _ command: String, _ arguments: JSONValue = [:], as type: Reply.Type, deadline: Duration = defaultDeadline
    ) async throws -> Reply {
        throw QMPError(.connectionClosed, "not built yet")
    }

    @discardableResult
    package func executeOutOfBand(
        _ command: String, _ arguments: JSONValue = [:], deadline: Duration = defaultDeadline
    ) async throws -> JSONValue {
        throw QMPError(.connectionClosed, "not built yet")
    }

    package func sendDescriptor(_ descriptor: Int32, name: String, deadline: Duration = defaultDeadline) async throws {
        throw QMPError(.connectionClosed, "not built yet")
    }

    package func closeDescriptor(_ name: String, deadline: Duration = defaultDeadline) async throws {
        throw QMPError(.connectionClosed, "not built yet")
    }
}
