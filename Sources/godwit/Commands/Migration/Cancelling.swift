import Client
import Fleet
import Output

/// Cancels several migrations side by side, each for itself.
struct Cancelling {
    let client: GodwitClient
    let waiting: CancelWaitOptions

    /// - Parameters:
    ///   - references: As the user names what is to be cancelled.
    ///   - cancel: Asks for one.
    /// - Throws: ``CommandFailure`` after all was printed, when any could not be cancelled.
    func run(
        _ references: [String], _ output: OutputFormat, _ cancel: @escaping @Sendable (String) async throws -> MigrationView
    ) async throws {
        let results = try await BatchResult.all(references) { reference in
            let asked = try await cancel(reference)
            guard waiting.wait, !asked.state.isFinished else { return asked }
            let watch = MigrationWatching(client: client, migration: asked.id, patience: waiting.waitTimeout)
            return try await watch.follow(on: .nothing)
        }
        let tooLate = results.map { result in
            guard case .success(let view) = result.outcome, view.state == .ready else { return result }
            let place = view.targetHost?.name ?? "its target"
            let why = "The migration \(view.id) was through before it could be cancelled: \(view.server.name) is on \(place)."
            return BatchResult(id: result.id, outcome: .failure(status: 409, error: why))
        }
        try output.print(tooLate, table: BatchResult.tables(tooLate) { MigrationTables.columns.table($0).text })
        try BatchResult.requireSuccess(tooLate)
    }
}
