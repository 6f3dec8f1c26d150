/// What went wrong between us and a QEMU monitor.
package struct QMPError: Error, Sendable, Hashable, CustomStringConvertible {
    /// The kind of failure, to decide by.
    package struct Code: Sendable, Hashable, CustomStringConvertible {
        package let description: String

        private init(_ description: String) {
            self.description = description
        }

        /// Nobody listens at the socket, or it cannot be reached.
        package static let couldNotConnect = Code("could not connect")
        /// QEMU ended or closed the connection, or `close()` was called. What became of a command in flight is unknown.
        package static let connectionClosed = Code("connection closed")
        /// No answer in time. A command that was sent may still be carried out; the connection stays usable.
        package static let deadline = Code("deadline")
        /// QEMU refused the command: see `errorClass` and `reason`.
        package static let command = Code("command refused")
        /// The peer does not speak QMP. The connection has been closed.
        package static let protocolViolation = Code("protocol violation")
        /// QEMU answered, but not in the shape expected of that command. The connection stays usable.
        package static let unexpectedReply = Code("unexpected reply")
        /// The request cannot be sent as it is (out-of-band on a session without it, a bad descriptor).
        package static let invalidRequest = Code("invalid request")
    }

    /// QAPI's `QapiErrorClass`.
    package struct ErrorClass: Sendable, Hashable, RawRepresentable {
        package let rawValue: String

        package init(rawValue: String) {
            self.rawValue = rawValue
        }

        package static let genericError = ErrorClass(rawValue: "GenericError")
        package static let commandNotFound = ErrorClass(rawValue: "CommandNotFound")
        package static let deviceNotActive = ErrorClass(rawValue: "DeviceNotActive")
        package static let deviceNotFound = ErrorClass(rawValue: "DeviceNotFound")
        package static let kvmMissingCapability = ErrorClass(rawValue: "KVMMissingCap")
    }

    package let code: Code
    /// One sentence for a person, with the remedy where there is one.
    package let message: String
    /// The QMP command in question, if any.
    package let command: String?
    /// With `command`: what QEMU calls the error.
    package let errorClass: ErrorClass?
    /// With `command`: QEMU's own text, unchanged.
    package let reason: String?

    package init(_ code: Code, _ message: String, command: String? = nil) {
        self.code = code
        self.message = message
        self.command = command
        self.errorClass = nil
        self.reason = nil
    }

    /// QEMU's refusal of a command.
    package init(refused command: String, errorClass: ErrorClass, reason: String) {
        self.code = .command
        self.message = "QEMU refused \(command): \(reason) (\(errorClass.rawValue))"
        self.command = command
        self.errorClass = errorClass
        self.reason = reason
    }

    package var description: String { message }
}
