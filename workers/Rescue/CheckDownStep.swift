import Engine
import Fleet
import Steps

/// Sees once more, now that the rescue begins, that nothing contradicts whoever vouches for the source being off, and that no disk would be
/// left behind there.
struct CheckDownStep: Step {
    let name = "check-down"
    let states: Set<MigrationState> = [.scheduling]
    let ground: Ground

    func perform(_ context: StepContext) async throws -> StepResult {
        try await SourceCheck(ground: ground).requireDown(context)
        return StepResult()
    }

    func compensate(_ context: StepContext) async throws -> Compensation { .done }
}
