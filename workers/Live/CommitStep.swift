import Engine
import Fleet

/// Says that the target owns the server: placement, `ready`, reservation, the source's cleanup and the server's status move with it.
struct CommitStep: Step {
    let name = "commit"
    let states: Set<MigrationState> = [.switching]

    func perform(_ context: StepContext) async throws -> StepResult {
        var result = StepResult(event: .targetOwns)
        let migration = context.migration
        result.numbers["totalMS"] = max(0, Timestamp.now - migration.createdAt)
        guard let found = try context.output(of: SwitchStep.name, as: SwitchStep.Output.self) else { return result }
        result.numbers["diskBytes"] = found.diskBytes
        result.numbers["memoryBytes"] = found.memoryBytes
        result.numbers["vcpuProgressMS"] = found.vcpuProgressMS
        if let blackout = found.blackout {
            result.numbers["blackoutUS"] = blackout.totalUS
            result.numbers["lastPassUS"] = blackout.lastPassUS
            result.numbers["diskDrainUS"] = blackout.diskDrainUS
            result.numbers["deviceStateUS"] = blackout.deviceStateUS
            result.numbers["handoverUS"] = blackout.handoverUS
            result.numbers["resumeUS"] = blackout.resumeUS
        }
        return result
    }

    func compensate(_ context: StepContext) async throws -> Compensation { .done }
}
