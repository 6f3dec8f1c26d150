import Synchronization

/// What was ordered for this process by `GODWIT_FAILPOINTS`: `NAME=ACTION;NAME=ACTION`. Each happens the first time that its point is reached.
struct FailpointOrders: Hashable, Sendable {
    private var actions: [String: FailpointAction] = [:]

    /// - Throws: ``UnknownFailpoint``, ``UnknownFailpointAction``.
    init(_ text: String) throws {
        for order in text.split(separator: ";") {
            let parts = order.split(separator: "=", maxSplits: 1)
            let name = parts[0].trimmingPrefix(while: \.isWhitespace)
            let point = try Failpoint(named: String(name))
            guard parts.count == 2 else { throw UnknownFailpointAction(text: "") }
            actions[point.name] = try FailpointAction(String(parts[1]))
        }
    }

    mutating func take(_ point: Failpoint) -> FailpointAction? { actions.removeValue(forKey: point.name) }
}

/// The orders of this process, of which each is taken by one.
final class FailpointBook: Sendable {
    private let orders: Mutex<FailpointOrders>

    /// - Throws: see ``FailpointOrders``.
    init(_ text: String) throws {
        orders = Mutex(try FailpointOrders(text))
    }

    func take(_ point: Failpoint) -> FailpointAction? { orders.withLock { $0.take(point) } }
}
