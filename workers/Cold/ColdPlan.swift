package import AgentAPI
package import Engine
import Fleet
package import Steps
package import Store

/// The plan of a cold migration: place, prove what is shared, have the stopped server's other files lent, have them copied
/// and verified, hand the server over, commit.
///
/// A server whose disks are all shared goes the same way with nothing to copy.
package enum ColdPlan {
    package static func plan(
        store: Store, agents: any AgentDirectory, settings: StepSettings = StepSettings()
    ) -> Plan {
        let ground = Ground(store: store, agents: agents, settings: settings)
        return Plan(
            mode: .cold,
            steps: [
                PlaceStep(ground: ground), ProveSharedStep(ground: ground), LendStep(ground: ground), ReceiveStep(ground: ground),
                HandOverStep(ground: ground),
                CommitStep(ground: ground, figures: ReceiveStep.figures),
            ],
            statusWhileMoving: .migrating,
            // A start is an operation that a controller sees through, also when this worker dies.
            statusWhenReady: { $0.options.autoStart ? .starting : .ready },
            statusAfterFailure: { _ in (.ready, nil) })
    }
}
