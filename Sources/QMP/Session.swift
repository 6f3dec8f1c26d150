/// One conversation with a monitor: which commands wait, which are under way, what a message means. No I/O and no clock of its own.
///
/// QEMU carries in-band commands out one after the other. With out-of-band execution it reads ahead, and once eight commands wait it stops
/// reading, out-of-band ones included (`QMP_REQ_QUEUE_LEN_MAX`); so no more than `window` are sent before they are answered, and the rest
/// wait here. A command whose deadline passes while it waits here is never carried out.
struct Session {
    typealias ID = UInt64

    static let window = 7

    enum Kind: Hashable {
        /// No command: waiting for the greeting.
        case greeting
        case inBand
        /// In-band with a descriptor. A monitor holds only the latest descriptor that came in, so the next one is sent when this was answered.
        case descriptor
        case outOfBand
    }

    struct Request: Hashable {
        let id: ID
        /// The command's name.
        let command: String
        let kind: Kind
        let deadline: ContinuousClock.Instant
        /// For the sentence that tells of the deadline.
        let patience: Duration
    }

    enum Action: Hashable {
        case send(ID)
        case finish(ID, Result<JSONValue, QMPError>)
        case publish(QMPEvent)
        /// For the log only.
        case note(String)
    }

    private struct Flight {
        let request: Request
        /// Nobody waits any more, yet QEMU will still answer.
        var isAbandoned = false
    }

    private let path: String
    /// Sets our commands apart from those of an earlier client, whose replies QEMU may still send to us.
    private let prefix: String
    private var waiting: [Request] = []
    private var flights: [ID: Flight] = [:]
    /// The greeting, when it came before anybody asked for it.
    private var greeting: JSONValue?
    private var isGreeted = false
    private var isNegotiated = false
    private var end: QMPError?

    init(path: String, prefix: String) {
        self.path = path
        self.prefix = prefix
    }

    var isClosed: Bool { end != nil }

    /// The capabilities are agreed on: from here on nobody greets any more.
    mutating func negotiated() {
        isNegotiated = true
    }

    /// When `expire` is to be called; nil when nothing waits.
    var nextDeadline: ContinuousClock.Instant? {
        let sent = flights.values.lazy.filter { !$0.isAbandoned }.map(\.request.deadline).min()
        let unsent = waiting.lazy.map(\.deadline).min()
        return [sent, unsent].compactMap { $0 }.min()
    }

    /// What goes over the wire for a command, line end included.
    func line(_ command: String, _ arguments: JSONValue, id: ID, outOfBand: Bool) -> [UInt8] {
        var message: [String: JSONValue] = [outOfBand ? "exec-oob" : "execute": .string(command), "id": .string("\(prefix)-\(id)")]
        if arguments != [:] { message["arguments"] = arguments }
        return JSONValue.object(message).serialized + [UInt8(ascii: "\n")]
    }

    mutating func submit(_ request: Request) -> [Action] {
        if let end {
            let error =
                request.kind == .greeting
                ? end : QMPError(.connectionClosed, "\(request.command) was not sent: \(end.message)", command: request.command)
            return [.finish(request.id, .failure(error))]
        }
        switch request.kind {
        case .greeting:
            if let greeting { return [.finish(request.id, .success(greeting))] }
            flights[request.id] = Flight(request: request)
            return []
        case .outOfBand:
            flights[request.id] = Flight(request: request)
            return [.send(request.id)]
        case .inBand, .descriptor:
            waiting.append(request)
            return launch()
        }
    }

    /// Nobody waits for that command any more.
    mutating func abandon(_ id: ID) -> [Action] {
        if let index = waiting.firstIndex(where: { $0.id == id }) {
            waiting.remove(at: index)
            // It may have been what held the others back.
            return launch()
        }
        flights[id]?.isAbandoned = true
        return []
    }

    /// Gives up on every command whose time has passed.
    mutating func expire(at now: ContinuousClock.Instant) -> [Action] {
        var actions: [Action] = []
        for request in waiting where request.deadline <= now {
            actions.append(.finish(request.id, .failure(late(request, sent: false))))
        }
        waiting.removeAll { $0.deadline <= now }
        for (id, flight) in flights where !flight.isAbandoned && flight.request.deadline <= now {
            flights[id]?.isAbandoned = true
            actions.append(.finish(id, .failure(late(flight.request, sent: true))))
        }
        return actions + launch()
    }

    /// Takes one message of QEMU.
    /// - Throws: `.protocolViolation` when it is none.
    mutating func receive(_ line: [UInt8]) throws(QMPError) -> [Action] {
        guard end == nil else { return [] }
        let message: JSONValue
        do {
            message = try JSONValue(parsing: line)
        } catch {
            throw violation("\(error): \(excerpt(line))")
        }
        if message["QMP"] != nil {
            guard !isGreeted else {
                guard !isNegotiated else { throw violation("a second greeting") }
                return [.note("QEMU greeted again")]
            }
            isGreeted = true
            if let flight = flights.first(where: { $0.value.request.kind == .greeting }) { return finish(flight.key, .success(message)) }
            greeting = message
            return []
        }
        if let name = message["event"]?.string {
            return [.publish(QMPEvent(name: name, data: message["data"] ?? [:], timestamp: Self.timestamp(message["timestamp"])))]
        }
        if let reply = message["return"] {
            return try finish(message["id"], .success(reply))
        }
        if let error = message["error"], let name = error["class"]?.string, let reason = error["desc"]?.string {
            return try finish(message["id"], .failure((QMPError.ErrorClass(rawValue: name), reason)))
        }
        throw violation(excerpt(line))
    }

    /// The connection is gone: every command fails.
    mutating func close(_ error: QMPError) -> [Action] {
        guard end == nil else { return [] }
        end = error
        let unsent = waiting.map { ($0, "\(error.message); \($0.command) had not been sent") }
        let sent = flights.values.filter { !$0.isAbandoned }.map { flight in
            let request = flight.request
            return (request, request.kind == .greeting ? error.message : "\(error.message); what became of \(request.command) is unknown")
        }
        waiting = []
        flights = [:]
        return (sent + unsent).sorted { $0.0.id < $1.0.id }.map { request, message in
            .finish(request.id, .failure(QMPError(error.code, message, command: request.kind == .greeting ? nil : request.command)))
        }
    }

    /// Sends what may be sent, in the order of submission.
    private mutating func launch() -> [Action] {
        var actions: [Action] = []
        while let next = waiting.first {
            let inBand = flights.values.filter { $0.request.kind == .inBand || $0.request.kind == .descriptor }
            guard inBand.count < Self.window else { break }
            guard next.kind != .descriptor || !inBand.contains(where: { $0.request.kind == .descriptor }) else { break }
            waiting.removeFirst()
            flights[next.id] = Flight(request: next)
            actions.append(.send(next.id))
        }
        return actions
    }

    private enum Answer {
        case success(JSONValue)
        case failure((QMPError.ErrorClass, String))
    }

    private mutating func finish(_ wireID: JSONValue?, _ answer: Answer) throws(QMPError) -> [Action] {
        guard let wireID else {
            // QEMU answers without an id only what it could not read.
            if case .failure(let (_, reason)) = answer { throw violation("QEMU could not read what was sent to it: \(reason)") }
            throw violation("a reply without an id")
        }
        guard let text = wireID.string, text.hasPrefix("\(prefix)-"), let id = ID(text.dropFirst(prefix.count + 1)),
            let flight = flights[id]
        else {
            return [.note("dropped a reply to another client's command, id \(wireID)")]
        }
        let command = flight.request.command
        switch answer {
        case .success(let value): return finish(id, .success(value))
        case .failure(let (errorClass, reason)):
            return finish(id, .failure(QMPError(refused: command, errorClass: errorClass, reason: reason)))
        }
    }

    private mutating func finish(_ id: ID, _ result: Result<JSONValue, QMPError>) -> [Action] {
        guard let flight = flights.removeValue(forKey: id) else { return [] }
        let outcome: Action = flight.isAbandoned ? .note("dropped the late reply to \(flight.request.command)") : .finish(id, result)
        return [outcome] + launch()
    }

    private func late(_ request: Request, sent: Bool) -> QMPError {
        if request.kind == .greeting {
            return QMPError(
                .deadline,
                "no greeting from QEMU's monitor at \(path) within \(request.patience): QEMU serves one client per -qmp socket and another one is probably attached, or QEMU hangs. Close the other client, or use another -qmp socket"
            )
        }
        let fate = sent ? "QEMU may still carry it out" : "it had not been sent, since QEMU had not answered the commands before it"
        return QMPError(
            .deadline, "QEMU at \(path) did not answer \(request.command) within \(request.patience); \(fate)", command: request.command)
    }

    private func violation(_ what: String) -> QMPError {
        QMPError(.protocolViolation, "the peer at \(path) does not speak QMP: \(what)")
    }

    private func excerpt(_ line: [UInt8]) -> String {
        String(decoding: line.prefix(80), as: UTF8.self) + (line.count > 80 ? "…" : "")
    }

    /// Microseconds since 1970. QEMU writes -1 when it could not read its clock.
    private static func timestamp(_ value: JSONValue?) -> Int64? {
        guard let seconds = value?["seconds"]?.int, let micro = value?["microseconds"]?.int, seconds >= 0, micro >= 0 else { return nil }
        return Int64(seconds) * 1_000_000 + Int64(micro)
    }
}
