import AgentAPI
import AgentFakes
import Cold
import Fleet
import Staging
import Steps
import Synchronization

typealias Stage = PlanStage<World>

/// A stopped server on host1.
extension Stage {
    static func run(
        hosts names: [String] = ["host1", "host2", "host3"], storages: [String] = ["local"], _ body: (Stage) async throws -> Void
    ) async throws {
        var scene = Scene<World>(.cold, .ready) {
            FakeAgent(name: $0, fleet: $1)
        } plan: {
            ColdPlan.plan(store: $0, agents: $1, settings: $2)
        }
        scene.hosts = names
        scene.storages = storages
        scene.steps.pollMS = 20
        try await run(scene) { stage in
            stage.fleet.world.withLock { world in
                world.nodes["host1"]?.isHome = true
                world.nodes["host1"]?.hasFiles = true
            }
            try await body(stage)
        }
    }

    /// Where the server could be started.
    var homes: [String] { fleet.world.withLock { $0.nodes.filter(\.value.isHome).keys.sorted() } }
    var files: [String] { fleet.world.withLock { $0.nodes.filter(\.value.hasFiles).keys.sorted() } }
    var violations: [String] { fleet.world.withLock { $0.violations } }

    /// Whole, in one place, free to be started there, and the store says so.
    func isWhole(on name: String, status: ServerStatus = .ready) async throws -> Bool {
        let now = try await settled()
        let isLent = fleet.world.withLock { $0.nodes[name]?.loan?.phase == .lent }
        return homes == [name] && files == [name] && violations.isEmpty && !isLent && now == (name, status, true)
    }
}
