package import AgentAPI
package import Engine
import Fleet
package import Store

/// The plan of a live migration: place, prepare the target, mirror the disks, send memory, see the switchover through, commit.
package enum LivePlan {
    package static func plan(
        store: Store, agents: any AgentDirectory, settings: LiveSettings = LiveSettings()
    ) -> Plan {
        let ground = Ground(store: store, agents: agents, settings: settings)
        return Plan(
            mode: .live,
            steps: [
                PlaceStep(ground: ground), PrepareTargetStep(ground: ground), MirrorDisksStep(ground: ground),
                SendMemoryStep(ground: ground), SwitchStep(ground: ground), CommitStep(),
            ],
            statusWhileMoving: .liveMigrating, statusWhenReady: .running,
            statusAfterFailure: { fault in
                // The only failure after which the source's guest does not run.
                fault.reason.code == .guestStopped ? (.ready, fault.reason) : (.running, nil)
            })
    }
}

/// A live migration's own deadlines.
package struct LiveSettings: Hashable, Sendable {
    /// How long one look at an agent waits for news.
    package var pollMS: Int64 = 1000
    /// No byte moved for so long: stalled.
    package var stall = Duration.seconds(60)
    /// The source handed over and its agent has not reached the target's in this time: the worker relays.
    package var relayAfter = Duration.milliseconds(500)
    /// The target owns the guest and does not run it: told as awaited after this time.
    package var runAfter = Duration.seconds(10)

    package init() {}
}

/// What all steps stand on: the store to read, the agents to ask.
struct Ground: Sendable {
    let store: Store
    let agents: any AgentDirectory
    let settings: LiveSettings

    func link(_ host: HostID, _ context: StepContext) async throws -> AgentLink {
        let host = try await store.host(host.value)
        return AgentLink(host: host, agent: agents.agent(of: host), clock: context.clock, settings: context.settings)
    }

    func source(_ context: StepContext) async throws -> AgentLink { try await link(context.migration.source, context) }

    /// - Throws: a ``Fault`` for a migration without a target, which no step beyond placing can have.
    func target(_ context: StepContext) async throws -> AgentLink {
        guard let target = context.migration.target else {
            throw Fault(.agentError, "The migration has no target in \(context.migration.state.rawValue).", remedy: .none)
        }
        return try await link(target, context)
    }
}

extension StepContext {
    var key: AttemptKey { AttemptKey(migration: migration.id, attempt: migration.attempt) }
    var server: ServerID { migration.server }
    var epoch: Epoch { migration.epoch }
    /// Bytes a second.
    var bandwidth: Int64? { migration.options.maxBandwidthMB.map { $0 * 1_000_000 } }
}
