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
            try await discard(cleanup)
            try await store.finishCleanup(cleanup.id)
            log.info("cleaned up", metadata: ["host": "\(cleanup.host)"])
        } catch is CancellationError {
            // Held until its lease ends, then somebody's again.
        } catch {
            await postpone(cleanup, error, log)
        }
    }

    private func discard(_ cleanup: Cleanup) async throws {
        let host = try await store.host(cleanup.host.value)
        let link = AgentLink(host: host, agent: agents.agent(of: host), clock: clock, settings: settings)
        let key = AttemptKey(migration: cleanup.migration, attempt: cleanup.attempt)
        do {
            switch cleanup.kind {
            case .source: break
            case .target:
                // Only what promised never to run may go.
                _ = try await link.ask(patience: settings.shortPatience) {
                    try await $0.refuse(cleanup.server, RefuseOrder(epoch: cleanup.epoch, key: key))
                }
            }
            try await link.ask(patience: settings.shortPatience) {
                try await $0.discard(
                    cleanup.server,
                    DiscardOrder(epoch: cleanup.epoch, key: key, end: cleanup.kind == .source ? .source : .target))
            }
        } catch is Superseded {
            log.info("moot: the agent obeyed a newer epoch", metadata: ["cleanup": "\(cleanup.id)"])
        } catch let problem as AgentProblem where problem.kind == .notFound {
            log.debug("nothing was there", metadata: ["cleanup": "\(cleanup.id)"])
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
