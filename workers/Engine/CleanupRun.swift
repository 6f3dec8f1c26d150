import AgentAPI
import Fleet
import Logging
import Store

/// One claimed cleanup: what an attempt left on a host goes, or is tried again later, for ever.
struct CleanupRun: Sendable {
    let store: Store
    let agents: any AgentDirectory
    let worker: String
    let settings: EngineSettings
    let clock: any EngineClock
    let log: Logger

    func run(_ cleanup: Cleanup) async {
        var log = log
        log[metadataKey: "cleanup"] = "\(cleanup.id)"
        do {
            let note = try await discard(cleanup)
            try await store.finishCleanup(cleanup.id, note: note)
            log.info("cleaned up", metadata: ["host": "\(cleanup.host)"])
        } catch is CancellationError {
            // Held until its lease ends, then somebody's again.
        } catch {
            await postpone(cleanup, error, log)
        }
    }

    /// Returns what the migration's history is to tell of it.
    private func discard(_ cleanup: Cleanup) async throws -> MigrationChange.HistoryNote? {
        let host = try await store.host(cleanup.host.value)
        let link = AgentLink(host: host, agent: agents.agent(of: host), clock: clock, settings: settings)
        let key = AttemptKey(migration: cleanup.migration, attempt: cleanup.attempt)
        let rescuer = try await rescuer(cleanup)
        // What is left is known by the attempt's key, and is there also when the host obeyed somebody newer since, who wanted something else
        // of it. After a rescue the cleanup's own epoch tells since when the server is another host's.
        var present: Epoch?
        if rescuer == nil { present = try await presentEpoch(of: cleanup.server) }
        let epoch = max(cleanup.epoch, present ?? .none)
        do {
            switch cleanup.kind {
            case .source: break
            case .target:
                do {
                    // Only what promised never to run may go.
                    _ = try await link.ask(patience: settings.shortPatience) {
                        try await $0.refuse(cleanup.server, RefuseOrder(epoch: epoch, key: key))
                    }
                } catch is Superseded {
                    // Copies that the attempt left for the next one go under any epoch.
                }
            }
            let report = try await link.ask(patience: settings.shortPatience) {
                try await $0.discard(
                    cleanup.server,
                    DiscardOrder(
                        epoch: epoch, key: key, end: cleanup.kind == .source ? .source : .target, rescuedBy: rescuer?.name))
            }
            guard report.endedGuest, let rescuer else { return nil }
            return MigrationChange.HistoryNote(
                from: .ready, actor: worker, step: "cleanup",
                reason: Reason(
                    .guestEnded, "\(host.name) is back and still ran the guest, which is \(rescuer.name)'s by now; it was ended."))
        } catch is Superseded {
            guard present == nil else {
                throw AgentProblem(.staleEpoch, .staleEpoch, "somebody newer has just been at work with the server there")
            }
            log.info("moot: the agent obeyed a newer epoch", metadata: ["cleanup": "\(cleanup.id)"])
        } catch let problem as AgentProblem where problem.kind == .notFound {
            log.debug("nothing was there", metadata: ["cleanup": "\(cleanup.id)"])
        }
        return nil
    }

    /// Nil when the server is gone.
    private func presentEpoch(of server: ServerID) async throws -> Epoch? {
        do {
            return try await store.server(server.value).epoch
        } catch let error as StoreError where error.code == .notFound {
            return nil
        }
    }

    /// The host that took the server over without its source; nil where the source handed it over itself.
    private func rescuer(_ cleanup: Cleanup) async throws -> Host? {
        guard cleanup.kind == .source else { return nil }
        do {
            let migration = try await store.migration(cleanup.migration.value)
            guard migration.mode == .rescue, let target = migration.target else { return nil }
            return try await store.host(target.value)
        } catch let error as StoreError where error.code == .notFound {
            return nil
        }
    }

    private func postpone(_ cleanup: Cleanup, _ error: any Error, _ log: Logger) async {
        let message = (error as? AgentProblem)?.reason.message ?? "\(error)"
        let delay = settings.cleanup.delay(after: cleanup.tries + 1)
        log.notice("cleanup put off", metadata: ["error": "\(message)", "delay": "\(delay)"])
        do {
            try await store.postponeCleanup(cleanup.id, error: message, delayMS: delay.inMilliseconds)
        } catch {
            log.warning("the cleanup is left until its lease ends", metadata: ["error": "\(error)"])
        }
    }
}
