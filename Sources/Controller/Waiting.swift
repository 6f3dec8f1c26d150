import AgentAPI
import Fleet
import ServiceLifecycle

/// Runs the body, and gives it up after the deadline.
///
/// - Throws: ``AgentProblem`` `unreachable` at the deadline.
func within<T: Sendable>(_ deadline: Duration, _ body: @escaping @Sendable () async throws -> T) async throws -> T {
    try await withThrowingTaskGroup(of: T.self) { group in
        group.addTask { try await body() }
        group.addTask {
            // The deadline itself: the body's end cancels it.
            try await Task.sleep(for: deadline)
            throw AgentProblem(.unreachable, "unreachable", "The agent gave no answer within \(deadline).")
        }
        defer { group.cancelAll() }
        guard let result = try await group.next() else { throw CancellationError() }
        return result
    }
}

/// Runs the body, which has no end of its own, and cancels it when the service is shut down gracefully: that is no error.
func untilShutdown(_ body: @escaping @Sendable () async throws -> Void) async throws {
    do {
        try await cancelWhenGracefulShutdown(body)
    } catch is CancellationError where Task.isShuttingDownGracefully {
        return
    }
}
