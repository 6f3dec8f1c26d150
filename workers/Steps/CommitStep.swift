package import Engine
package import Fleet
import Store

/// Says that the target owns the server: placement, `ready`, reservation, the source's cleanup and the server's status move with it.
package struct CommitStep: Step {
    package let name = "commit"
    package let states: Set<MigrationState> = [.switching]
    private let ground: Ground
    private let figures: @Sendable (StepContext) throws -> [String: Int64]

    /// - Parameter figures: what the end of the history tells besides the whole time, by name.
    package init(ground: Ground, figures: @escaping @Sendable (StepContext) throws -> [String: Int64] = { _ in [:] }) {
        self.ground = ground
        self.figures = figures
    }

    package func perform(_ context: StepContext) async throws -> StepResult {
        var result = StepResult(event: .targetOwns)
        result.numbers = try figures(context)
        let server = try await ground.store.server(context.server.value)
        if Medium.ejected(server, context.migration.options) != nil {
            result.description = Medium.described(server, after: context.migration.options)
        }
        result.numbers["totalMS"] = max(0, Timestamp.now - context.migration.createdAt)
        return result
    }

    package func compensate(_ context: StepContext) async throws -> Compensation { .done }
}
