import AgentAPI
import AgentFakes
import Fleet
import Staging
import Store
import Synchronization
import Testing

@testable import Engine

@Suite struct WorkerTests {
    /// Runs workers while the body does, and ends them gracefully.
    private static func withWorkers(
        _ ground: Ground, _ plan: Plan, names: [String] = ["w1"], agents: FakeAgent = FakeAgent(), settings: EngineSettings = .quick,
        _ body: () async throws -> Void
    ) async throws {
        let stop = Latch()
        try await withThrowingTaskGroup(of: Void.self) { group in
            for name in names {
                let worker = Worker(
                    store: ground.store, plans: PlanCatalog([plan]), agents: agents, name: name, settings: settings, log: .silent)
                group.addTask { await worker.run(until: stop) }
            }
            do {
                try await body()
            } catch {
                stop.set()
                throw error
            }
            stop.set()
            try await group.waitForAll()
        }
    }

    private static func areAllReady(_ ground: Ground, _ count: Int) async throws -> Bool {
        try await ground.store.migrations(MigrationFilter(states: [.ready], limit: 1000)).count == count
    }

    @Test func `begins work as soon as it is there`() async throws {
        try await withGround { ground in
            let begun = Latch()
            var script = Script(target: ground.target.id)
            let place = script.place
            script.place = { context in
                begun.set()
                return try await place(context)
            }
            try await Self.withWorkers(ground, script.plan(Recorder())) {
                // The queue is empty and stays so: whoever only sleeps until something is due sleeps for ever.
                #expect(try await ground.store.nextDueInMS() == nil)
                _ = try await ground.submit()
                await begun.wait()
                try await eventually("it is ready") { try await Self.areAllReady(ground, 1) }
            }
        }
    }

    @Test func `one that waits for a place keeps no other from its own`() async throws {
        try await withGround { ground in
            let isFree = Latch()
            var script = Script(target: ground.target.id)
            let place = script.place
            script.place = { context in
                let name = try await ground.store.server(context.migration.server.value).name
                if name == "vm1", !isFree.isSet { throw Awaiting("a free slot", holdsNothing: true) }
                return try await place(context)
            }
            var settings = EngineSettings.quick
            settings.concurrency = 1
            try await Self.withWorkers(ground, script.plan(Recorder()), settings: settings) {
                let id = try await ground.submit("vm1").id
                try await eventually("it waits") { try await ground.store.migration(id.value).awaiting == "a free slot" }
                _ = try await ground.submit("vm2")
                try await eventually("the other is ready") { try await Self.areAllReady(ground, 1) }
                let waiting = try await ground.store.migration(id.value)
                #expect(waiting.state == .scheduling && waiting.awaiting == "a free slot" && waiting.attempt == 1)
                isFree.set()
                try await eventually("it is ready too") { try await Self.areAllReady(ground, 2) }
                let told = try await ground.store.history(of: id).filter { $0.reason?.code == "awaiting" }
                #expect(told.count == 1)
            }
        }
    }

    @Test func `comes back to a retry when it is due, and cleans up`() async throws {
        try await withGround { ground in
            let failures = Mutex(2)
            var script = Script(target: ground.target.id)
            script.copy = { _ in
                let fails = failures.withLock { left in
                    left -= 1
                    return left >= 0
                }
                if fails { throw Fault(.connectionLost, "The stream broke.", remedy: .sameTarget) }
                return StepResult(event: .disksSynced)
            }
            let agent = FakeAgent()
            try await Self.withWorkers(ground, script.plan(Recorder()), agents: agent) {
                let id = try await ground.submit().id
                try await eventually("it is ready") { try await Self.areAllReady(ground, 1) }
                #expect(try await ground.store.migration(id.value).attempt == 3)
                try await eventually("the source is cleaned up") { try await ground.store.cleanups().isEmpty }
            }
            #expect(agent.asked.withLock { $0 } == ["discard source"])
        }
    }

    @Test func `runs no more at once than it may`() async throws {
        try await withGround { ground in
            let inside = Mutex((now: 0, most: 0))
            let (isFull, haveLooked) = (Latch(), Latch())
            var script = Script(target: ground.target.id)
            script.copy = { _ in
                let now = inside.withLock {
                    $0.now += 1
                    $0.most = max($0.most, $0.now)
                    return $0.now
                }
                if now == 3 { isFull.set() }
                await haveLooked.wait()
                inside.withLock { $0.now -= 1 }
                return StepResult(event: .disksSynced)
            }
            var settings = EngineSettings.quick
            settings.concurrency = 3
            // Nobody but the worker itself, which looks for more, reads the store while all three wait.
            settings.control = .seconds(3600)
            for number in 0..<9 { _ = try await ground.submit("vm\(number)") }
            try await Self.withWorkers(ground, script.plan(Recorder()), settings: settings) {
                await isFull.wait()
                let reads = ground.database.reads
                try await eventually("it has looked for more") { ground.database.reads >= reads + 3 }
                haveLooked.set()
                try await eventually("all are ready") { try await Self.areAllReady(ground, 9) }
            }
            #expect(inside.withLock { $0.most } == 3)
        }
    }

    @Test func `two workers never do the same step at the same time, also when one dies`() async throws {
        try await withGround { ground in
            let count = 40
            let recorder = Recorder()
            var script = Script(target: ground.target.id)
            // At random, so that steps of different workers fall into each other in ever new ways.
            let dawdle: @Sendable () async throws -> Void = { try await Task.sleep(for: .milliseconds(Int.random(in: 1...20))) }
            script.prepare = { _ in
                try await dawdle()
                return try StepResult(output: ["port": 7])
            }
            script.copy = { context in
                try await dawdle()
                // Some go back once, so that both directions are under way at the same time.
                if context.migration.attempt == 1, context.migration.id.value.last?.isNumber == true {
                    throw Fault(.connectionLost, "The stream broke.", remedy: .sameTarget)
                }
                return StepResult(event: .disksSynced)
            }
            script.undoPrepare = { _ in
                try await dawdle()
                return .done
            }
            script.memory = { _ in
                try await dawdle()
                return StepResult(event: .sourceStopped)
            }
            let plan = script.plan(recorder)
            var settings = EngineSettings.quick
            settings.leaseMS = 60_000
            let doomed = Worker(
                store: ground.store, plans: PlanCatalog([plan]), agents: FakeAgent(), name: "doomed", settings: settings, log: .silent)
            for number in 0..<count { _ = try await ground.submit("vm\(number)") }
            try await Self.withWorkers(ground, plan, names: ["w1", "w2"], settings: settings) {
                let task = Task { await doomed.run(until: Latch()) }
                try await eventually("some are ready") {
                    try await ground.store.migrations(MigrationFilter(states: [.ready], limit: 1000)).count > count / 4
                }
                task.cancel()
                await task.value
                try await ground.expireLeases(of: "doomed")
                try await eventually("all are ready", within: .seconds(40)) { try await Self.areAllReady(ground, count) }
            }
            #expect(recorder.overlaps.isEmpty)
            for migration in try await ground.store.migrations(MigrationFilter(limit: 1000)) {
                let states = try await ground.states(of: migration.id)
                #expect(states.first == .pending && states.last == .ready)
                #expect(migration.attempt <= 2)
            }
            // Each was placed once an attempt, and once more at most for each worker's death.
            #expect(recorder.calls.count { $0 == "commit" } >= count)
        }
    }
}

@Suite struct CleanupTests {
    private static func cleanup(_ ground: Ground, _ kind: Cleanup.Kind = .target) async throws -> Cleanup {
        let migration = try await ground.submit()
        let claimed = try #require(try await ground.store.claimMigrations(worker: "w1", leaseMS: 60_000, limit: 1).first)
        var change = MigrationChange(claimed)
        change.cleanups = [
            Cleanup(
                id: "c1", kind: kind, migration: migration.id, server: migration.server, host: ground.target.id, attempt: 1,
                epoch: claimed.epoch, dueAt: .now)
        ]
        try await ground.store.apply(change, worker: "w1")
        return try #require(try await ground.store.claimCleanups(worker: "w1", leaseMS: 60_000, limit: 1).first)
    }

    private static func run(_ ground: Ground, _ agent: FakeAgent, _ cleanup: Cleanup) async {
        await CleanupRun(
            store: ground.store, agents: agent, worker: "w1", settings: .quick, clock: SystemClock(), log: .silent
        ).run(cleanup)
    }

    @Test func `a target must refuse before it is discarded`() async throws {
        try await withGround { ground in
            let agent = FakeAgent()
            await Self.run(ground, agent, try await Self.cleanup(ground))
            #expect(agent.asked.withLock { $0 } == ["refuse", "discard target"])
            #expect(try await ground.store.cleanups().isEmpty)
        }
    }

    @Test func `a source is only discarded`() async throws {
        try await withGround { ground in
            let agent = FakeAgent()
            await Self.run(ground, agent, try await Self.cleanup(ground, .source))
            #expect(agent.asked.withLock { $0 } == ["discard source"])
        }
    }

    @Test(arguments: [AgentProblem.Kind.unreachable, .failed, .conflict, .owned])
    func `what cannot be done now is put off, with why`(kind: AgentProblem.Kind) async throws {
        try await withGround { ground in
            let agent = FakeAgent()
            agent.problems.withLock { $0 = Array(repeating: AgentProblem(kind, .agentError, "not now"), count: 100) }
            await Self.run(ground, agent, try await Self.cleanup(ground))
            let left = try #require(try await ground.store.cleanups().first)
            #expect(left.tries == 1 && left.lastError?.contains("not now") == true)
            #expect(agent.asked.withLock { !$0.contains { $0.hasPrefix("discard") } })
            agent.problems.withLock { $0 = [] }
            let again = Mutex<Cleanup?>(nil)
            try await eventually("it is due again") {
                let claimed = try await ground.store.claimCleanups(worker: "w1", leaseMS: 60_000, limit: 1).first
                again.withLock { $0 = claimed }
                return claimed != nil
            }
            await Self.run(ground, agent, try #require(again.withLock { $0 }))
            #expect(try await ground.store.cleanups().isEmpty)
        }
    }

    @Test(arguments: [Cleanup.Kind.source, .target])
    func `what is gone is finished`(kind: Cleanup.Kind) async throws {
        try await withGround { ground in
            let agent = FakeAgent()
            agent.problems.withLock { $0 = [AgentProblem(.notFound, .invalidRequest, "nothing here")] }
            await Self.run(ground, agent, try await Self.cleanup(ground, kind))
            #expect(try await ground.store.cleanups().isEmpty)
        }
    }

    @Test func `what is left goes under the server's present epoch, whoever was at work since`() async throws {
        try await withGround { ground in
            let agent = FakeAgent()
            let cleanup = try await Self.cleanup(ground, .source)
            // Another claim of the same migration, of which the host has obeyed an order.
            try await ground.expireLeases()
            let claimed = try #require(try await ground.store.claimMigrations(worker: "w2", leaseMS: 60_000, limit: 1).first)
            #expect(claimed.epoch > cleanup.epoch)
            await Self.run(ground, agent, cleanup)
            #expect(agent.epoch.withLock { $0 } == claimed.epoch)
            #expect(try await ground.store.cleanups().isEmpty)
        }
    }

    @Test func `a host that obeyed somebody newer just now is asked again later`() async throws {
        try await withGround { ground in
            let agent = FakeAgent()
            agent.problems.withLock { $0 = [AgentProblem(.staleEpoch, .staleEpoch, "newer")] }
            await Self.run(ground, agent, try await Self.cleanup(ground, .source))
            let left = try #require(try await ground.store.cleanups().first)
            #expect(left.tries == 1)
        }
    }
}

@Suite struct AgentLinkTests {
    private static func link(_ agent: FakeAgent) -> AgentLink {
        let host = Fleet.Host(
            id: "h", name: "host2", agentURL: "https://host2", enabled: true, healthyUntil: .now, facts: nil)
        return AgentLink(host: host, agent: agent, clock: SystemClock(), settings: .quick)
    }

    private static func ask(_ agent: FakeAgent, patience: Duration? = nil) async throws {
        try await link(agent).ask(patience: patience) {
            try await $0.discard("s", DiscardOrder(epoch: Epoch(1), key: AttemptKey(migration: "m", attempt: 1), end: .target))
        }
    }

    @Test func `asks again while nobody answers`() async throws {
        let agent = FakeAgent()
        agent.problems.withLock { $0 = Array(repeating: AgentProblem(.unreachable, "unreachable", "refused"), count: 5) }
        try await Self.ask(agent, patience: .seconds(30))
        #expect(agent.asked.withLock { $0.count } == 6)
    }

    @Test func `loses patience in the end, and names the host`() async throws {
        let agent = FakeAgent()
        agent.problems.withLock { $0 = Array(repeating: AgentProblem(.unreachable, "unreachable", "refused"), count: 10_000) }
        await #expect {
            try await Self.ask(agent)
        } throws: { error in
            let problem = error as? AgentProblem
            return problem?.kind == .unreachable && problem?.reason.message == "The agent of host2 cannot be reached: refused"
        }
        #expect(agent.asked.withLock { $0.count } > 1)
    }

    @Test func `asks once when it has no patience`() async throws {
        let agent = FakeAgent()
        agent.problems.withLock { $0 = [AgentProblem(.unreachable, "unreachable", "refused")] }
        await #expect(throws: AgentProblem.self) { try await Self.ask(agent, patience: .zero) }
        #expect(agent.asked.withLock { $0.count } == 1)
    }

    @Test func `a newer epoch ends this worker's part`() async throws {
        let agent = FakeAgent()
        agent.problems.withLock { $0 = [AgentProblem(.staleEpoch, .staleEpoch, "newer")] }
        await #expect(throws: Superseded.self) { try await Self.ask(agent) }
    }

    @Test(arguments: [AgentProblem.Kind.invalid, .forbidden, .notFound, .owned, .conflict, .failed])
    func `an answer is an answer`(kind: AgentProblem.Kind) async throws {
        let agent = FakeAgent()
        agent.problems.withLock { $0 = [AgentProblem(kind, .agentError, "no")] }
        await #expect(throws: AgentProblem(kind, .agentError, "no")) { try await Self.ask(agent) }
        #expect(agent.asked.withLock { $0.count } == 1)
    }
}
