import Testing

struct TookTooLong: Error, CustomStringConvertible {
    let what: String
    var description: String { "\(what) did not happen in time" }
}

/// The body's result, or an error when it takes longer.
func within<Value: Sendable>(
    _ limit: Duration, _ what: String = "this", _ body: @escaping @Sendable () async throws -> Value
) async throws -> Value {
    try await withThrowingTaskGroup(of: Value.self) { group in
        group.addTask(operation: body)
        group.addTask {
            try await Task.sleep(for: limit)
            throw TookTooLong(what: what)
        }
        defer { group.cancelAll() }
        return try #require(try await group.next())
    }
}

/// Asks until the answer is yes.
func eventually(within limit: Duration = .seconds(10), _ what: String, _ holds: () async throws -> Bool) async throws {
    let end = ContinuousClock.now.advanced(by: limit)
    while try await !holds() {
        guard ContinuousClock.now < end else { throw TookTooLong(what: what) }
        try await Task.sleep(for: .milliseconds(10))
    }
}
