import Client
import Fleet
import Foundation
import Testing

extension EndToEnd {
    /// Processes that are told to end in the middle of a migration, as for a newer version of theirs.
    @Suite(.serialized, .netFleet(hosts: 2))
    struct HandbackTests {
        @Test func `a worker that is told to end hands its lease back, and another goes on within a second`() async throws {
            try await NetFleet.test { fleet in
                let source = try await fleet.startGuest(GuestRecipe(dirtyMBs: 2, diskDataMB: 160))
                let migration = try await fleet.migrate("vm1", "--prefer-host", "host2", "--max-bandwidth-mb", "10")
                try await fleet.reach(.syncingDisk, migration.id)
                // Who goes on with it writes nothing of that into the history.
                let first = try #require(try await fleet.history(migration.id).last { NetFleet.workers.contains($0.actor) }?.actor)
                for (holder, megabytes) in zip([first] + NetFleet.workers.filter { $0 != first }, [20, 60] as [Int64]) {
                    try await fleet.reach(.syncingDisk, migration.id) { $0.diskDoneBytes > megabytes << 20 }
                    let before = try await fleet.server("vm1").epoch
                    let pid = try #require(try fleet.pids(of: holder).first)
                    let start = ContinuousClock.now
                    kill(pid, SIGTERM)
                    // A claim raises the epoch, and nothing else does here.
                    try await eventually("another worker holds it", within: .seconds(10)) {
                        try await fleet.server("vm1").epoch > before
                    }
                    let took = start.duration(to: .now)
                    print("outside: another worker went on \(took) after SIGTERM to \(holder)")
                    #expect(took < .seconds(1.5), "the look itself takes part of that")
                    try await eventually("\(holder) has ended", within: .seconds(20)) { try fleet.pids(of: holder).isEmpty }
                    try await fleet.revive(holder)
                }
                let end = try await fleet.arrive(migration.id)
                #expect(end.attempt == 1)
                try await fleet.proveWhole("vm1", source: source)
            }
        }

        @Test func `every process is replaced in the middle of a migration, one after the other, and it goes on`() async throws {
            try await NetFleet.test { fleet in
                let source = try await fleet.startGuest(GuestRecipe(dirtyMBs: 2, diskDataMB: 200))
                let migration = try await fleet.migrate("vm1", "--prefer-host", "host2", "--max-bandwidth-mb", "10")
                for (number, daemon) in (["controller", "host1", "host2"] + NetFleet.workers).enumerated() {
                    let bytes = Int64(10 + 20 * number) << 20
                    try await fleet.reach(.syncingDisk, migration.id) { $0.diskDoneBytes > bytes }
                    try await fleet.dismiss(daemon)
                    try await fleet.revive(daemon)
                }
                let end = try await fleet.arrive(migration.id)
                #expect(end.attempt == 1, "it did not start over")
                try await fleet.proveWhole("vm1", source: source)
            }
        }
    }
}
