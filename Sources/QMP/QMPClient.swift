import Dispatch
import Failpoints
package import Logging
import Synchronization

/// A client of one QEMU monitor over its unix socket (QMP; `docs/interop/qmp-spec` of QEMU).
///
/// Commands may be executed from any number of tasks at once. The connection ends when QEMU ends or closes it, when `close()` is called, or when
/// the last reference to the client goes; the guest does not notice. QEMU serves one client per `-qmp` socket and does not repeat events for
/// the next one: whoever attaches asks for the state anew.
package final class QMPClient: Sendable {
    /// How long a command may take when nothing else is said.
    package static let defaultDeadline: Duration = .seconds(10)

    /// The socket.
    package let path: String
    private let logger: Logger
    /// Reads, writes and deadlines are handled here, one at a time.
    private let queue: DispatchQueue
    private let incoming = Mutex(LineBuffer())
    private let core: Mutex<Core>

    /// Connects, takes the greeting and ends QMP's negotiation.
    /// - Parameters:
    ///   - enableOOB: ask for out-of-band execution; `isOutOfBandEnabled` tells whether QEMU has it.
    ///   - deadline: for all of it.
    /// - Throws: `QMPError` with `.couldNotConnect` when nobody listens, `.deadline` when no greeting comes (usually because another client is
    ///   attached: QEMU's listener takes the connection, but QEMU greets only when the other client has left), `.protocolViolation` when the peer is
    ///   no monitor; or `CancellationError`.
    package static func connect(
        path: String, enableOOB: Bool = false, deadline: Duration = .seconds(5), logger: Logger = Logger(label: "godwit.qmp")
    ) async throws -> QMPClient {
        let end = ContinuousClock.now.advanced(by: deadline)
        var wait = Duration.seconds(2)
        while true {
            let limit = min(end, .now.advanced(by: wait))
            let client = QMPClient(path: path, socket: try await UnixSocket.connect(path: path, until: end), logger: logger)
            do {
                try await client.negotiate(enableOOB: enableOOB, patience: deadline, until: limit)
                return client
            } catch let error as QMPError where error.code == .deadline && limit < end {
                // A connection that QEMU took as it only began may stay deaf for good.
                client.close()
                wait *= 3
            } catch {
                client.close()
                throw error
            }
        }
    }

    private init(path: String, socket: UnixSocket, logger: Logger) {
        self.path = path
        var logger = logger
        logger[metadataKey: "qmp"] = .string(path)
        self.logger = logger
        self.queue = DispatchQueue(label: "godwit.qmp")
        let session = Session(path: path, prefix: String(UInt64.random(in: .min ... .max), radix: 36))
        self.core = Mutex(Core(session: session))
        let handlers = Link.Handlers(
            readable: { [weak self] in self?.drain(socket) },
            writable: { [weak self] in self?.core.withLock { $0.link?.flush() } },
            broken: { [weak self] in self?.drain(socket, thenEnd: true) },
            expired: { [weak self] in self?.expire() })
        core.withLock { $0.link = Link(socket: socket, queue: queue, handlers: handlers) }
    }

    deinit {
        close()
    }

    private func negotiate(enableOOB: Bool, patience: Duration, until end: ContinuousClock.Instant) async throws {
        struct Greeting: Decodable, Sendable {
            struct Body: Decodable, Sendable {
                let version: QEMUVersion
                let capabilities: [String]?
            }
            let body: Body
            enum CodingKeys: String, CodingKey { case body = "QMP" }
        }
        let message = try await exchange(.greeting, "greeting", [:], patience: patience, until: end)
        let greeting: Greeting
        do {
            greeting = try message.decode()
        } catch {
            throw QMPError(.protocolViolation, "the peer at \(path) greets in a way that is not QMP's: \(error)")
        }
        let outOfBand = enableOOB && greeting.body.capabilities?.contains("oob") == true
        // QEMU 7.2 opens a monitor twice for a client that came just as it was made: it greets again, and has forgotten what was agreed on, or
        // loses what it was asked just then.
        var isAgreed = false
        var wait = Duration.milliseconds(500)
        while !isAgreed {
            let limit = min(end, .now.advanced(by: wait))
            do {
                do {
                    try await converse(
                        .inBand, "qmp_capabilities", outOfBand ? ["enable": ["oob"]] : [:], patience: patience, until: limit)
                } catch let error as QMPError where error.errorClass == .commandNotFound {
                    // It is agreed on already.
                }
                try await converse(.inBand, "query-version", [:], patience: patience, until: limit)
                isAgreed = true
            } catch let error as QMPError where error.errorClass == .commandNotFound {
                logger.debug("QEMU wants its capabilities negotiated again")
            } catch let error as QMPError where error.code == .deadline && limit < end {
                // Few enough in all for QEMU's queue, should it only be slow.
                wait *= 3
            }
        }
        core.withLock { core in
            core.session.negotiated()
            core.version = greeting.body.version
            core.isOutOfBandEnabled = outOfBand
        }
        logger.debug(
            "attached to QEMU", metadata: ["version": .stringConvertible(greeting.body.version), "oob": .stringConvertible(outOfBand)])
    }

    /// The release that greeted.
    package var version: QEMUVersion { core.withLock { $0.version } }

    /// Whether `executeOutOfBand` works.
    package var isOutOfBandEnabled: Bool { core.withLock { $0.isOutOfBandEnabled } }

    /// The process that made the socket, from the kernel (`SO_PEERCRED`): QEMU's own, also after `-daemonize`. 0 once the connection is gone.
    package var peerPID: Int32 { core.withLock { $0.link?.socket.peerPID ?? 0 } }

    package var isOpen: Bool { core.withLock { !$0.session.isClosed } }

    /// Returns when the connection is gone, or when the task is cancelled.
    package func closed() async {
        for await _ in events() {}
    }

    /// Leaves the monitor. Commands under way fail with `.connectionClosed`; what QEMU has begun it goes on with.
    package func close() {
        end(QMPError(.connectionClosed, "the connection to QEMU at \(path) was closed on our side"))
    }

    /// Every event from now on, for this caller alone, until the connection ends. Events are kept until they are read.
    package func events() -> AsyncStream<QMPEvent> {
        let (stream, continuation) = AsyncStream.makeStream(of: QMPEvent.self)
        let number = core.withLock { $0.subscribe(continuation) }
        guard let number else {
            continuation.finish()
            return stream
        }
        continuation.onTermination = { [weak self] _ in self?.unsubscribe(number) }
        return stream
    }

    private func unsubscribe(_ number: UInt64) {
        core.withLock { $0.unsubscribe(number) }
    }

    /// Executes a command and returns what QEMU returned.
    /// - Throws: `QMPError`: `.command` when QEMU refuses it, `.deadline` when it does not answer in time (a late answer is dropped, the session goes
    ///   on), `.connectionClosed`, `.protocolViolation`; or `CancellationError`. After a cancellation QEMU may still carry the command out.
    @discardableResult
    package func execute(
        _ command: String, _ arguments: JSONValue = [:], deadline: Duration = defaultDeadline
    ) async throws -> JSONValue {
        try await converse(.inBand, command, arguments, patience: deadline, until: .now.advanced(by: deadline))
    }

    /// Executes a command and returns what QEMU returned as a type of ours.
    /// - Throws: as the untyped form, and `.unexpectedReply` when QEMU's answer has not that type.
    package func execute<Reply: Decodable & Sendable>(
        _ command: String, _ arguments: JSONValue = [:], as type: Reply.Type, deadline: Duration = defaultDeadline
    ) async throws -> Reply {
        let reply = try await execute(command, arguments, deadline: deadline)
        do {
            return try reply.decode(as: type)
        } catch {
            throw QMPError(.unexpectedReply, "QEMU answered \(command) in an unknown shape: \(error)", command: command)
        }
    }

    /// Executes a command at once, past those that wait or hang (`exec-oob`). Few commands allow it: `yank`, `migrate-recover`, `migrate-pause`.
    /// - Throws: as `execute`, and `.invalidRequest` when the client was connected without `enableOOB` or QEMU has no such thing.
    @discardableResult
    package func executeOutOfBand(
        _ command: String, _ arguments: JSONValue = [:], deadline: Duration = defaultDeadline
    ) async throws -> JSONValue {
        guard isOutOfBandEnabled else {
            throw QMPError(
                .invalidRequest, "\(command) cannot go out-of-band to QEMU at \(path): connect with enableOOB, to a QEMU that offers it",
                command: command)
        }
        return try await converse(.outOfBand, command, arguments, patience: deadline, until: .now.advanced(by: deadline))
    }

    /// Gives QEMU a copy of an open descriptor under a name of ours (QAPI `getfd`); the caller's stays open and may be closed afterwards.
    ///
    /// The name belongs to this monitor, outlives this client, and is used up by the command that takes it, even if that fails later. A descriptor
    /// given under a name that is in use replaces it.
    /// - Parameter name: must not begin with a digit.
    /// - Throws: as `execute`, and `.invalidRequest` when the descriptor is not open. After `.deadline` QEMU may yet take it: `closeDescriptor`.
    package func sendDescriptor(_ descriptor: Int32, name: String, deadline: Duration = defaultDeadline) async throws {
        try await converse(
            .descriptor, "getfd", ["fdname": .string(name)], passing: Descriptor(duplicating: descriptor), patience: deadline,
            until: .now.advanced(by: deadline))
    }

    /// Has QEMU close a descriptor that no command has used (QAPI `closefd`); refused when there is none of that name.
    package func closeDescriptor(_ name: String, deadline: Duration = defaultDeadline) async throws {
        try await execute("closefd", ["fdname": .string(name)], deadline: deadline)
    }

    @discardableResult
    private func converse(
        _ kind: Session.Kind, _ command: String, _ arguments: JSONValue, passing descriptor: Descriptor? = nil, patience: Duration,
        until end: ContinuousClock.Instant
    ) async throws -> JSONValue {
        try await Failpoints.reach(.qmp(command, .before))
        let reply = try await exchange(kind, command, arguments, passing: descriptor, patience: patience, until: end)
        try await Failpoints.reach(.qmp(command, .after))
        return reply
    }

    private func exchange(
        _ kind: Session.Kind, _ command: String, _ arguments: JSONValue, passing descriptor: Descriptor? = nil, patience: Duration,
        until end: ContinuousClock.Instant
    ) async throws -> JSONValue {
        let id = core.withLock { $0.nextID() }
        let request = Session.Request(id: id, command: command, kind: kind, deadline: end, patience: patience)
        return try await withTaskCancellationHandler {
            try await withCheckedThrowingContinuation { continuation in
                let effects = core.withLock { core -> [Core.Effect] in
                    // Looked at under the lock: a cancellation after this finds the request in place.
                    guard !Task.isCancelled else { return [.resume(continuation, .failure(CancellationError()))] }
                    return core.submit(request, arguments, passing: descriptor, continuation)
                }
                perform(effects)
            }
        } onCancel: {
            perform(core.withLock { $0.cancel(id) })
        }
    }

    /// Reads what there is, on the queue.
    private func drain(_ socket: UnixSocket, thenEnd: Bool = false) {
        incoming.withLock { incoming in
            withUnsafeTemporaryAllocation(byteCount: 64 << 10, alignment: 1) { buffer in
                while isOpen {
                    switch socket.receive(into: buffer) {
                    case .bytes(let count):
                        do throws(QMPError) {
                            for line in try incoming.append(UnsafeRawBufferPointer(rebasing: buffer[..<count])) {
                                try receive(line)
                            }
                        } catch {
                            end(error)
                        }
                    case .empty where !thenEnd:
                        return
                    case .empty, .end, .broken:
                        let place = incoming.isInsideLine ? " in the middle of a message" : ""
                        end(QMPError(.connectionClosed, "QEMU at \(path) ended or closed the connection\(place)"))
                    }
                }
            }
        }
    }

    private func receive(_ line: [UInt8]) throws(QMPError) {
        logger.trace("received", metadata: ["line": .string(String(decoding: line.prefix(4096), as: UTF8.self))])
        let outcome = core.withLock { core in Result { () throws(QMPError) in try core.receive(line) } }
        perform(try outcome.get())
    }

    private func expire() {
        perform(core.withLock { $0.expire() })
    }

    private func end(_ error: QMPError) {
        guard let effects = core.withLock({ $0.close(error) }) else { return }
        logger.debug("detached from QEMU", metadata: ["reason": .string(error.message)])
        perform(effects)
    }

    /// Outside the lock, since a stream that ends calls back.
    private func perform(_ effects: [Core.Effect]) {
        for effect in effects {
            switch effect {
            case .resume(let continuation, let result): continuation.resume(with: result)
            case .publish(let event, let subscribers): for subscriber in subscribers { subscriber.yield(event) }
            case .finish(let subscribers): for subscriber in subscribers { subscriber.finish() }
            case .note(let text): logger.debug("\(text)")
            }
        }
    }
}
