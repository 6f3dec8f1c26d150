import Dispatch

/// The live end of a connection: its socket, the sources that tell of it, and what is still to be written. Nothing here blocks.
struct Link {
    /// What the link tells its owner, always on the queue.
    struct Handlers: Sendable {
        let readable: @Sendable () -> Void
        let writable: @Sendable () -> Void
        /// Nothing can be written any more; what the peer said before may still be read.
        let broken: @Sendable () -> Void
        let expired: @Sendable () -> Void
    }

    struct Outgoing {
        let bytes: [UInt8]
        var written = 0
        var descriptor: Descriptor?
    }

    let socket: UnixSocket
    private let queue: DispatchQueue
    private let handlers: Handlers
    private let reader: any DispatchSourceRead
    private let timer: any DispatchSourceTimer
    private var writer: (any DispatchSourceWrite)?
    private var outbox: [Outgoing] = []
    private var isBroken = false
    private var armed: ContinuousClock.Instant?

    init(socket: UnixSocket, queue: DispatchQueue, handlers: Handlers) {
        self.socket = socket
        self.queue = queue
        self.handlers = handlers
        let descriptor = socket.descriptor
        reader = DispatchSource.makeReadSource(fileDescriptor: descriptor.number, queue: queue)
        reader.setEventHandler(handler: handlers.readable)
        // Dispatch forgets a descriptor only when the source's cancellation is through; until then it must not be closed and its number not be used again.
        reader.setCancelHandler { withExtendedLifetime(descriptor) {} }
        reader.activate()
        timer = DispatchSource.makeTimerSource(queue: queue)
        timer.setEventHandler(handler: handlers.expired)
        timer.schedule(deadline: .distantFuture)
        timer.activate()
    }

    mutating func send(_ outgoing: Outgoing) {
        outbox.append(outgoing)
        if writer == nil { flush() }
    }

    /// Writes until all is written or the socket is full.
    mutating func flush() {
        while !isBroken, var next = outbox.first {
            switch socket.send(next.bytes[next.written...], passing: next.descriptor) {
            case .bytes(let count):
                next.descriptor = nil
                next.written += count
                if next.written == next.bytes.count {
                    outbox.removeFirst()
                } else {
                    outbox[0] = next
                }
            case .full:
                awaitWritable()
                return
            case .broken:
                isBroken = true
                queue.async(execute: handlers.broken)
            }
        }
        writer?.cancel()
        writer = nil
    }

    private mutating func awaitWritable() {
        guard writer == nil else { return }
        let descriptor = socket.descriptor
        let source = DispatchSource.makeWriteSource(fileDescriptor: descriptor.number, queue: queue)
        source.setEventHandler(handler: handlers.writable)
        source.setCancelHandler { withExtendedLifetime(descriptor) {} }
        source.activate()
        writer = source
    }

    /// Has `expired` called at that time, or before.
    mutating func wake(at deadline: ContinuousClock.Instant?) {
        guard let deadline else { return }
        if let armed, armed <= deadline { return }
        armed = deadline
        let wait = max(.zero, min(deadline - .now, .seconds(86_400)))
        let (seconds, attoseconds) = wait.components
        timer.schedule(deadline: .now() + .nanoseconds(Int(seconds) * 1_000_000_000 + Int(attoseconds / 1_000_000_000) + 1))
    }

    /// To be called when `expired` was, before the next `wake`.
    mutating func woke() {
        armed = nil
    }

    /// Ends the connection for the peer at once; the descriptor is closed when Dispatch has let go of it.
    func close() {
        socket.shutDown()
        reader.cancel()
        writer?.cancel()
        timer.cancel()
    }
}
