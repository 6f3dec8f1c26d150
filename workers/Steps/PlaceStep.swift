import AgentAPI
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
        let (loads, now) = try await ground.store.hostLoadsNow()
        var request = PlacementRequest(
            server: server.id, description: server.description, source: migration.source, mode: migration.mode, options: migration.options,
            excluded: migration.excluded, companions: try await ground.store.companions(of: server.id))
        let features = request.asksForFeatures ? try await features(of: server, context) : []
        let former = try await formerTarget(migration)
        while true {
            switch choose(request, among: loads, at: now, first: former) {
            case .chosen(let host):
                if !features.isEmpty, let missing = try await missing(features, on: host, context) {
                    request.missingFeatures[host] = missing
                    continue
                }
                let source = loads.first { $0.host.id == migration.source }?.host
                let needs = Needs(server.description, storages: source?.facts?.storages ?? [])
                var result = StepResult(event: .placed(hasLocalDisks: needs.hasLocalDisks))
                let there = loads.first { $0.host.id == host }?.host.facts?.storages ?? []
                result.reservation = needs.reservation(of: migration.id, on: host, storages: there)
                result.numbers = ["hosts": Int64(loads.count)]
                return result
            case .rejected(let rejections):
                let failure = PlacementFailure(server: server.name, rejections: rejections)
                // Waiting in sight of everybody is better than to fail for what the end of another migration mends, but not for ever.
                if let what = failure.waitsFor, now - migration.createdAt < Self.waitAtMostMS(migration) {
                    throw Awaiting(what, holdsNothing: true)
                }
                // What went wrong before is what the user must hear; that no other host is left comes after it.
                throw Fault(migration.reason.map(failure.reason(after:)) ?? failure.reason, remedy: .none)
            }
        }
    }

    /// The target of the attempt before this one, where that may do: what was copied there already need not be copied again.
    private func formerTarget(_ migration: Migration) async throws -> HostID? {
        guard migration.attempt > 1, migration.options.preferHost == nil else { return nil }
        return try await ground.store.history(of: migration.id).last { $0.attempt == migration.attempt - 1 && $0.target != nil }?.target
    }

    private func choose(
        _ request: PlacementRequest, among loads: [HostLoad], at now: Timestamp, first former: HostID?
    ) -> PlacementOutcome {
        if let former {
            var again = request
            again.options.preferHost = former
            let outcome = Placement.choose(again, among: loads, now: now)
            if case .chosen = outcome { return outcome }
        }
        return Placement.choose(request, among: loads, now: now)
    }

    /// How long after it was asked for a migration may still wait for a slot.
    private static func waitAtMostMS(_ migration: Migration) -> Int64 {
        // One of a batch has waited for its turn before.
        (migration.batch == nil ? 1 : 30) * 24 * 3_600_000
    }

    /// What the guest was given, by its own QEMU's word.
    private func features(of server: Server, _ context: StepContext) async throws -> [String] {
        try await ground.source(context).ask(patience: context.settings.shortPatience) {
            try await $0.cpuFeatures(server.id)
        }.features
    }

    /// Nil when the host's QEMU offers all of them. A host that cannot say so offers none of them.
    private func missing(_ features: [String], on host: HostID, _ context: StepContext) async throws -> [String]? {
        do {
            let missing = try await ground.link(host, context).ask(patience: context.settings.shortPatience) {
                try await $0.checkCPU(CPUCheckOrder(features: features))
            }.missing
            return missing.isEmpty ? nil : missing
        } catch let problem as AgentProblem {
            return ["an answer (\(problem.reason.message))"]
        }
    }

    /// The reservation goes with the end of the rollback.
    package func compensate(_ context: StepContext) async throws -> Compensation { .done }
}
