package import AgentAPI
package import Engine
import Fleet
package import Steps
package import Store

/// The plan of a rescue: see that the source is still down, place, have the target adopt the server where its disks are, commit.
package enum RescuePlan {
    package static func plan(
        store: Store, agents: any AgentDirectory, settings: StepSettings = StepSettings()
    ) -> Plan {
        let ground = Ground(store: store, agents: agents, settings: settings)
        return Plan(
            mode: .rescue,
            steps: [CheckDownStep(ground: ground), PlaceStep(ground: ground), AdoptStep(ground: ground), CommitStep()],
            statusWhileMoving: .migrating, statusWhenReady: .ready,
            // Nothing was touched that the source would still have: the server is what it was.
            statusAfterFailure: { _ in (.ready, nil) }, restoresStatus: true)
    }
}
