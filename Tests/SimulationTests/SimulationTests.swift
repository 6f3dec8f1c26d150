import Foundation
import Simulation
import Testing

/// A few seeds, which are slow without optimization; `script/test simulate` runs thousands.
@Suite(.serialized)
struct SimulationTests {
    /// A world keeps to the thread that made it.
    private func onThread<T: Sendable>(_ body: @escaping @Sendable () throws -> T) async throws -> T {
        try await withCheckedThrowingContinuation { continuation in
            let thread = Thread { continuation.resume(with: Result(catching: body)) }
            thread.stackSize = 16 << 20
            thread.start()
        }
    }

    private func outcomes(_ seeds: ClosedRange<UInt64>, _ mutation: Mutation? = nil) async throws -> [Outcome] {
        try await onThread {
            let simulation = try Simulation()
            return try seeds.map { try simulation.run(seed: $0, mutation: mutation) }
        }
    }

    @Test func noRuleIsBroken() async throws {
        let outcomes = try await outcomes(1...2)
        for outcome in outcomes { #expect(outcome.breach == nil, "seed \(outcome.seed)") }
        #expect(outcomes.reduce(0) { $0 + $1.moved } > 3, "hardly anything was moved")
    }

    @Test func aSeedReplays() async throws {
        let once = try await outcomes(7...8)
        let again = try await outcomes(7...8)
        #expect(once.map(\.fingerprint) == again.map(\.fingerprint))
        #expect(once.map(\.steps) == again.map(\.steps))
        #expect(once[0].fingerprint != once[1].fingerprint)
    }

    @Test func aFailureReplaysWithItsStory() async throws {
        let found = try await outcomes(1...2, .unwrittenOwnership).first { $0.breach != nil }
        let breach = try #require(found)
        let told = try await onThread {
            try Simulation().run(seed: breach.seed, mutation: .unwrittenOwnership, keepsStory: true)
        }
        #expect(told.fingerprint == breach.fingerprint)
        let rule = try #require(told.breach)
        #expect(told.story.contains { $0.contains(rule) })
    }

    @Test func idsAreOfTheSeed() async throws {
        let once = try await outcomes(1...1, .missingHistory)
        let again = try await outcomes(1...1, .missingHistory)
        // The breach names a migration.
        let breach = try #require(once.first?.breach)
        #expect(breach.contains("the history of 0") && again.first?.breach == breach)
    }

    @Test(arguments: [Mutation.earlyCleanup, .ranWithoutHandover, .missingHistory])
    func theCheckerBites(_ mutation: Mutation) async throws {
        let outcomes = try await outcomes(1...2, mutation)
        #expect(outcomes.contains { $0.breach != nil })
    }
}
