import Client
import Fleet
import Foundation
import Testing

extension EndToEnd {
    /// Every process of Godwit dies at once in the middle of a live migration, and is started again.
    @Suite(.serialized, .netFleet(hosts: 2, leaseMS: 4_000))
    struct DeathOfAllTests {
        private struct Run {
            var bytes: Int64
            var blackoutUS: Int64
        }

        /// Runs one migration to its end; all die once it stands where the condition holds.
        private func migrate(_ fleet: NetFleet, dyingAt condition: (@Sendable (MigrationView) -> Bool)?) async throws -> Run {
            let stage = CrashStage(fleet)
            let migration = try await fleet.migrate("vm1", "--max-bandwidth-mb", "25")
            if let condition {
                try await fleet.watch("the moment", migration.id, condition)
                try await stage.killAll()
                try await stage.revive()
            }
            let end = try await fleet.finish(migration.id)
            #expect(end.state == .ready, "\(String(describing: end.reason))")
            #expect(end.attempt == 1, "it did not start over")
            let progress = try #require(end.progress)
            return Run(
                bytes: progress.diskDoneBytes + progress.memoryTransferredBytes, blackoutUS: try #require(end.blackout).totalUS)
        }

        @Test func `it goes on where it was, sends next to nothing twice, and the guest does not notice`() async throws {
            try await NetFleet.test { fleet in
                let source = try await fleet.startGuest(GuestRecipe(memoryMB: 128, dirtyMBs: 0, diskDataMB: 96))
                let calm = try await migrate(fleet, dyingAt: nil)
                let moments: [(String, @Sendable (MigrationView) -> Bool)] = [
                    ("disk", { $0.state == .syncingDisk && ($0.progress?.diskDoneBytes ?? 0) > 20 << 20 }),
                    ("memory", { $0.state == .syncingMemory && ($0.progress?.memoryTransferredBytes ?? 0) > 10 << 20 }),
                ]
                for (name, moment) in moments {
                    let run = try await migrate(fleet, dyingAt: moment)
                    let ratio = Double(run.bytes) / Double(calm.bytes)
                    print(
                        "outside: all die while the \(name) is on its way: \(ratio) of the bytes, blackout \(run.blackoutUS) us,"
                            + " undisturbed \(calm.blackoutUS) us")
                    #expect(ratio <= 1.05, "\(run.bytes) bytes, undisturbed \(calm.bytes)")
                    // Noise of a machine that emulates its guests apart, it is no longer than undisturbed.
                    #expect(run.blackoutUS < calm.blackoutUS + 500_000)
                }
                try await fleet.proveWhole("vm1", source: source)
            }
        }
    }
}
