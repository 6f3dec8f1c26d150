package import AgentAPI
import Fleet
package import Logging
package import Store
import Synchronization

/// Draws migrations and cleanups from the store and runs them, as many at once as it may.
///
/// It sleeps until the store tells of a change, something becomes due, or a place becomes free.
package struct Worker: Sendable {
    private let store: Store
    private let plans: PlanCatalog
    private let agents: any AgentDirectory
    private let name: String
    private let settings: EngineSettings
    private let clock: any EngineClock
    private let log: Logger

    package init(
        store: Store, plans: PlanCatalog, agents: any AgentDirectory, name: String, settings: EngineSettings = EngineSettings(),
        clock: any EngineClock = SystemClock(), log: Logger
    ) {
        self.store = store
        self.plans = plans
        self.agents = agents
        self.name = name
        self.settings = settings
        self.clock = clock
        self.log = log
    }

    /// Works until told to stop: then it claims nothing more, lets go of what it holds, and returns. A cancellation of the task ends it
    /// like a crash, leases left to run out.
    package func run(until stop: Latch) async {
        let bell = Bell()
        let desk = ProgressDesk(store: store, clock: clock, log: log)
        await withTaskGroup(of: Void.self) { group in
            group.addTask { await desk.run() }
            group.addTask {
                for await _ in store.changes() { bell.ring() }
            }
            group.addTask {
                await stop.wait()
                bell.ring()
            }
            await dispatch(bell, desk, stop)
            group.cancelAll()
        }
    }

    /// What is under way, counted.
    private final class Places: Sendable {
        private let taken = Mutex((migrations: 0, cleanups: 0))
        var migrations: Int { taken.withLock { $0.migrations } }
        var cleanups: Int { taken.withLock { $0.cleanups } }
        func changeMigrations(_ by: Int) { taken.withLock { $0.migrations += by } }
        func changeCleanups(_ by: Int) { taken.withLock { $0.cleanups += by } }
    }

    private func dispatch(_ bell: Bell, _ desk: ProgressDesk, _ stop: Latch) async {
        let places = Places()
        var emptyHanded = 0
        await withDiscardingTaskGroup { group in
            while !stop.isSet, !Task.isCancelled {
                var sleep: Duration?
                do {
                    let dueInMS = try await store.nextDueInMS()
                    if let dueInMS, dueInMS <= 0 {
                        let claimed = try await claim(places, bell, desk, stop, &group)
                        // Something is due that cannot be had now, as when all places are taken: do not ask in a circle.
                        emptyHanded = claimed > 0 ? 0 : emptyHanded + 1
                        sleep = claimed > 0 ? .zero : Self.circling.ceiling(after: emptyHanded)
                    } else {
                        emptyHanded = 0
                        sleep = dueInMS.map { .milliseconds($0) }
                    }
                } catch is CancellationError {
                    break
                } catch {
                    emptyHanded += 1
                    sleep = settings.reconnect.delay(after: emptyHanded)
                    log.warning("the queue could not be read", metadata: ["error": "\(error)"])
                }
                if sleep != .zero { await bell.sleep(atMost: sleep, clock: clock) }
            }
        }
    }

    private static let circling = Backoff(base: .milliseconds(20), cap: .seconds(1))

    private func claim(
        _ places: Places, _ bell: Bell, _ desk: ProgressDesk, _ stop: Latch, _ group: inout DiscardingTaskGroup
    ) async throws -> Int {
        var claimed = 0
        let free = settings.concurrency - places.migrations
        if free > 0 {
            let asked = clock.now()
            for migration in try await store.claimMigrations(worker: name, leaseMS: settings.leaseMS, limit: free) {
                claimed += 1
                places.changeMigrations(1)
                group.addTask {
                    await run(migration, asked, desk, stop)
                    places.changeMigrations(-1)
                    bell.ring()
                }
            }
        }
        let freeForCleanups = settings.cleanupConcurrency - places.cleanups
        if freeForCleanups > 0 {
            for cleanup in try await store.claimCleanups(worker: name, leaseMS: settings.cleanupLeaseMS, limit: freeForCleanups) {
                claimed += 1
                places.changeCleanups(1)
                group.addTask {
                    await CleanupRun(store: store, agents: agents, worker: name, settings: settings, clock: clock, log: log).run(cleanup)
                    places.changeCleanups(-1)
                    bell.ring()
                }
            }
        }
        return claimed
    }

    private func run(_ migration: Migration, _ asked: Duration, _ desk: ProgressDesk, _ stop: Latch) async {
        guard let plan = plans.plan(for: migration.mode) else {
            log.error(
                "this worker has no plan for the mode", metadata: ["migration": "\(migration.id)", "mode": "\(migration.mode.rawValue)"])
            return
        }
        let run = MigrationRun(
            migration, claimAsked: asked, store: store, desk: desk, plan: plan, worker: name, settings: settings, clock: clock, log: log)
        _ = await run.run(until: stop)
    }
}
