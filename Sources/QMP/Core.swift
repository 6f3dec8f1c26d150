/// All that a client changes, behind its lock: the conversation, who waits for what, and the link.
struct Core {
    var session: Session
    var link: Link?
    var version = QEMUVersion(major: 0, minor: 0, micro: 0)
    var isOutOfBandEnabled = false
    private var unsent: [Session.ID: Link.Outgoing] = [:]
    private var waiters: [Session.ID: CheckedContinuation<JSONValue, any Error>] = [:]
    private var subscribers: [UInt64: AsyncStream<QMPEvent>.Continuation] = [:]
    private var lastID: UInt64 = 0

    init(session: Session) {
        self.session = session
    }

    mutating func nextID() -> UInt64 {
        lastID += 1
        return lastID
    }

    /// What is left to do when the lock has been given back.
    enum Effect: Sendable {
        case resume(CheckedContinuation<JSONValue, any Error>, Result<JSONValue, any Error>)
        case publish(QMPEvent, [AsyncStream<QMPEvent>.Continuation])
        case finish([AsyncStream<QMPEvent>.Continuation])
        case note(String)
    }

    mutating func submit(
        _ request: Session.Request, _ arguments: JSONValue, passing descriptor: Descriptor?,
        _ waiter: CheckedContinuation<JSONValue, any Error>
    ) -> [Effect] {
        waiters[request.id] = waiter
        if request.kind != .greeting {
            let line = session.line(request.command, arguments, id: request.id, outOfBand: request.kind == .outOfBand)
            unsent[request.id] = Link.Outgoing(bytes: line, descriptor: descriptor)
        }
        return apply(session.submit(request))
    }

    mutating func cancel(_ id: Session.ID) -> [Effect] {
        guard let waiter = waiters.removeValue(forKey: id) else { return [] }
        unsent[id] = nil
        return [.resume(waiter, .failure(CancellationError()))] + apply(session.abandon(id))
    }

    mutating func expire() -> [Effect] {
        link?.woke()
        return apply(session.expire(at: .now))
    }

    mutating func receive(_ line: [UInt8]) throws(QMPError) -> [Effect] {
        apply(try session.receive(line))
    }

    /// nil when the connection is gone already.
    mutating func close(_ error: QMPError) -> [Effect]? {
        guard !session.isClosed else { return nil }
        let effects = apply(session.close(error)) + [.finish(Array(subscribers.values))]
        link?.close()
        link = nil
        unsent = [:]
        subscribers = [:]
        return effects
    }

    /// The subscription's number; nil when the connection is gone.
    mutating func subscribe(_ subscriber: AsyncStream<QMPEvent>.Continuation) -> UInt64? {
        guard !session.isClosed else { return nil }
        let number = nextID()
        subscribers[number] = subscriber
        return number
    }

    mutating func unsubscribe(_ number: UInt64) {
        subscribers[number] = nil
    }

    private mutating func apply(_ actions: [Session.Action]) -> [Effect] {
        var effects: [Effect] = []
        for action in actions {
            switch action {
            case .send(let id):
                if let outgoing = unsent.removeValue(forKey: id) { link?.send(outgoing) }
            case .finish(let id, let result):
                unsent[id] = nil
                guard let waiter = waiters.removeValue(forKey: id) else { continue }
                effects.append(.resume(waiter, result.mapError { $0 }))
            case .publish(let event):
                effects.append(.publish(event, Array(subscribers.values)))
            case .note(let text):
                effects.append(.note(text))
            }
        }
        link?.wake(at: session.nextDeadline)
        return effects
    }
}
