package import AgentAPI
package import Engine
import Fleet
package import Steps
package import Store

/// The plan of a live migration: place, prove what is shared, bring missing base images, prepare the target, mirror the disks, send memory, see the switchover through, commit.
package enum LivePlan {
    package static func plan(
        store: Store, agents: any AgentDirectory, settings: StepSettings = StepSettings()
    ) -> Plan {
        let ground = Ground(store: store, agents: agents, settings: settings)
        return Plan(
            mode: .live,
            steps: [
                PlaceStep(ground: ground), ProveSharedStep(ground: ground), CopyBasesStep(ground: ground),
                PrepareTargetStep(ground: ground), EjectMediumStep(ground: ground),
                MirrorDisksStep(ground: ground), SendMemoryStep(ground: ground), SwitchStep(ground: ground),
                CommitStep(ground: ground, figures: SwitchStep.figures),
            ],
            statusWhileMoving: .liveMigrating, statusWhenReady: { _ in .running },
            statusAfterFailure: { fault in
                // The only failure after which the source's guest does not run.
                fault.reason.code == .guestStopped ? (.ready, fault.reason) : (.running, nil)
            })
    }
}
