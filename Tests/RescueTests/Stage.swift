import AgentFakes
import Fleet
import Rescue
import Staging
import Store
import Synchronization

typealias Stage = PlanStage<World>

/// Hosts that share a storage, and a server on host1, which is gone.
extension Stage {
    static func run(
        status: ServerStatus = .running, storages: [String] = ["shared"], _ body: (Stage) async throws -> Void
    ) async throws {
        var scene = Scene<World>(.rescue, status) {
            FakeAgent(name: $0, fleet: $1)
        } plan: { store, agents, _ in
            RescuePlan.plan(store: store, agents: agents)
        }
        scene.storages = storages
        scene.options = MigrationOptions(confirmHostDown: true)
        scene.hasCleanEnd = false
        try await run(scene) { stage in
            stage.fleet.world.withLock { world in
                world.nodes["host1"]?.isUp = false
                world.nodes["host1"]?.isRunning = status == .running
            }
            try await stage.seeHost1(false)
            try await body(stage)
        }
    }

    /// Whether the controllers see host1 answer.
    func seeHost1(_ isOnline: Bool) async throws {
        try await store.recordHealth(of: hosts[0].id, facts: .staged(memoryGB: 64), validForMS: isOnline ? 3_600_000 : 0)
    }

    var log: [String] { fleet.log }

    func now() async throws -> (status: ServerStatus, host: String) {
        let now = try await settled()
        return (now.status, now.host)
    }
}
