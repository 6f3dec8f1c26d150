import CSimulationLoop
import Fleet
import SQL
import Store

/// What became of one seed's world.
package struct Outcome: Sendable {
    package let seed: UInt64
    /// The rule that was broken, and how; nil when none was.
    package let breach: String?
    package let migrations: Int
    /// Those that came to `ready`.
    package let moved: Int
    package let steps: Int
    /// Seconds of the world's time.
    package let seconds: Double
    /// Equal for equal runs.
    package let fingerprint: UInt64
    /// What happened, in order; empty unless asked for.
    package let story: [String]
}

/// Runs worlds, one after the other, on the thread that made it.
package final class Simulation {
    private let database: MemoryDatabase

    /// For a process that does nothing else: before it has a database or a second thread.
    package static func haveProcessAlone() { simulation_loop_plain_sqlite() }

    /// - Throws: when there is no database in memory.
    package init() throws {
        database = try MemoryDatabase()
    }

    /// Runs one seed's world to its end.
    package func run(seed: UInt64, mutation: Mutation? = nil, keepsStory: Bool = false) throws -> Outcome {
        simulation_loop_begin()
        defer { simulation_loop_end() }
        try prepareSchema()
        try database.script("SAVEPOINT world")
        defer { try? database.script("ROLLBACK TO world; RELEASE world") }
        let world = World(seed: seed, database: database, mutation: mutation, keepsStory: keepsStory)
        database.now = { [unowned world] in SimulatedClock.beginning + world.loop.now / 1000 }
        database.twist = nil
        _ = database.takeTouched()
        let scenario = Scenario(world)
        world.loop.spawn {
            await Chance.$source.withValue(Chance.Source { [world] in world.dice.next() }) { await scenario.play() }
        }
        var steps = 0
        world.loop.run(
            until: { scenario.isOver || world.checker.breach != nil },
            onStep: {
                steps += 1
                if steps % 64 == 0 { world.checker.lookAtWindows() }
            })
        if !scenario.isOver, world.checker.breach == nil {
            world.checker.fail("9", "nothing is left to happen, and the scenario is not over")
        }
        let migrations = (try? database.run("SELECT COUNT(*) AS n, COALESCE(SUM(state = 'ready'), 0) AS moved FROM migrations").first)
        let outcome = Outcome(
            seed: seed, breach: world.checker.breach, migrations: Int((try? migrations?.integer("n")) ?? 0),
            moved: Int((try? migrations?.integer("moved")) ?? 0), steps: world.loop.steps, seconds: Double(world.loop.now) / 1_000_000,
            fingerprint: world.fingerprint, story: world.story.map(world.plain))
        scenario.tearDown()
        // What is still on its way ends by itself, with nothing to be reached any more.
        world.loop.run(until: { world.loop.isIdle }, onStep: {})
        world.loop.forget()
        return outcome
    }

    private var hasSchema = false

    private func prepareSchema() throws {
        guard !hasSchema else { return }
        hasSchema = true
        let loop = Loop(seed: 0)
        let database = database
        loop.spawn { _ = try? await Store(PlainStore(database: database)) }
        loop.run(until: { loop.isIdle }, onStep: {})
    }

    /// The database without anything between.
    private struct PlainStore: SQLDatabase {
        let database: MemoryDatabase
        var dialect: SQLDialect { .sqlite }
        func read<T: Sendable>(_ body: @Sendable (any SQLTransaction) async throws -> T) async throws -> T {
            try await body(MemoryTransaction(database: database))
        }
        func write<T: Sendable>(_ body: @Sendable (any SQLTransaction) async throws -> T) async throws -> T {
            try await body(MemoryTransaction(database: database))
        }
        func changes() -> AsyncStream<Void> { AsyncStream { $0.finish() } }
        func close() async {}
    }
}
