package import Engine
package import Fleet
import Placement
import Store

/// Chooses a target and reserves on it what the server will need.
package struct PlaceStep: Step {
    package let name = "place"
    package let states: Set<MigrationState> = [.scheduling]
    private let ground: Ground

    package init(ground: Ground) {
        self.ground = ground
    }

    package func perform(_ context: StepContext) async throws -> StepResult {
        let migration = context.migration
        let server = try await ground.store.server(migration.server.value)
        let loads = try await ground.store.hostLoads()
        let request = PlacementRequest(
            server: server.id, description: server.description, source: migration.source, mode: migration.mode, options: migration.options,
            excluded: migration.excluded)
        switch Placement.choose(request, among: loads, now: .now) {
        case .chosen(let host):
            let source = loads.first { $0.host.id == migration.source }?.host
            let needs = Needs(server.description, storages: source?.facts?.storages ?? [])
            var result = StepResult(event: .placed(hasLocalDisks: needs.hasLocalDisks))
            result.reservation = needs.reservation(of: migration.id, on: host)
            result.numbers = ["hosts": Int64(loads.count)]
            return result
        case .rejected(let rejections):
            let failure = PlacementFailure(server: server.name, rejections: rejections)
            // What went wrong before is what the user must hear; that no other host is left comes after it.
            throw Fault(migration.reason.map(failure.reason(after:)) ?? failure.reason, remedy: .none)
        }
    }

    /// The reservation goes with the end of the rollback.
    package func compensate(_ context: StepContext) async throws -> Compensation { .done }
}
