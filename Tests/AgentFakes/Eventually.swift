/// Waits for a condition.
package func eventually(
    _ what: String, within limit: Duration = .seconds(20), _ condition: () async throws -> Bool
) async throws {
    let end = ContinuousClock.now + limit
    while try await !condition() {
        guard ContinuousClock.now < end else { throw TooLate(what) }
        try await Task.sleep(for: .milliseconds(3))
    }
}

/// What a test waited for did not happen.
package struct TooLate: Error, CustomStringConvertible {
    private let what: String

    package init(_ what: String) {
        self.what = what
    }

    package var description: String { "it did not come to pass in time that \(what)" }
}

/// Stands for what hangs: it ends only by being cancelled, and, should a test forget that, after an hour.
package func hangUntilCancelled() async throws {
    try await Task.sleep(for: .seconds(3600))
}
