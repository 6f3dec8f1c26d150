import AgentFakes
import Fleet
import Live
import Staging
import Steps
import Synchronization

typealias Stage = PlanStage<World>

/// A running server on host1.
extension Stage {
    static func run(
        hosts names: [String] = ["host1", "host2", "host3"], hasDisk: Bool = true, base: String? = nil,
        cdrom: String? = nil, relayAfter: Duration = .milliseconds(30), _ body: (Stage) async throws -> Void
    ) async throws {
        var scene = Scene<World>(.live, .running) {
            FakeAgent(name: $0, fleet: $1)
        } plan: {
            LivePlan.plan(store: $0, agents: $1, settings: $2)
        }
        scene.hosts = names
        scene.storages = hasDisk ? ["local"] : []
        scene.cdrom = cdrom
        scene.base = base
        scene.steps.pollMS = 20
        scene.steps.relayAfter = relayAfter
        scene.steps.runAfter = .milliseconds(50)
        try await run(scene) { stage in
            stage.fleet.world.withLock { world in
                world.nodes["host1"]?.isRunning = true
                world.nodes["host1"]?.hasDisks = true
            }
            try await body(stage)
        }
    }

    /// Where the guest runs.
    var running: [String] { fleet.world.withLock { $0.nodes.filter(\.value.isRunning).keys.sorted() } }
    var disks: [String] { fleet.world.withLock { $0.nodes.filter(\.value.hasDisks).keys.sorted() } }
    var violations: [String] { fleet.world.withLock { $0.violations } }

    /// Whole, in one place, and the store says so.
    func isWhole(on name: String) async throws -> Bool {
        let now = try await settled()
        return running == [name] && disks == [name] && violations.isEmpty && now == (name, .running, true)
    }
}
