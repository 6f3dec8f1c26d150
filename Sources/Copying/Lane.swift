import Dispatch

/// A thread's worth of blocking work, one piece after the other, so that no task's thread waits for a disk or a peer.
final class Lane: Sendable {
    private let queue: DispatchQueue

    init(_ name: String) {
        queue = DispatchQueue(label: "godwit.copying.\(name)", qos: .utility)
    }

    func run<Result: Sendable>(_ body: @escaping @Sendable () throws -> Result) async throws -> Result {
        try await withCheckedThrowingContinuation { continuation in
            queue.async { continuation.resume(with: Swift.Result(catching: body)) }
        }
    }
}
