import Client
import Fleet
import Foundation
import Testing

extension EndToEnd {
    @Suite(.serialized)
    struct LiveMigrationTests {
        @Test func `a running server with a local disk moves to another host and does not notice`() async throws {
            try await Heartbeats.listening { beats in
                try await DevFleet.run(hosts: 3) { fleet in
                    let source = try await fleet.startGuest(memoryMB: 256, dirtyMBs: 20, diskDataMB: 64, beatPort: beats.port)
                    let start = ContinuousClock.now
                    let answer = try await fleet.godwit("server-live-migrate", "vm1", "--prefer-host", "host2", "--wait")
                    #expect(answer.status == 0, "\(answer.error)")
                    #expect(beats.longestGap(since: start) < .seconds(3), "the guest stood still too long")

                    let migration = try #require(try await fleet.decode([MigrationView].self, "migration-list").first)
                    #expect(migration.state == .ready)
                    #expect(migration.targetHost?.name == "host2")
                    let blackout = try #require(migration.blackout)
                    #expect(blackout.totalUS > 0 && blackout.totalUS < 5_000_000)
                    let progress = try #require(migration.progress)
                    #expect(progress.diskDoneBytes >= 64 << 20)

                    try await eventually("the source is cleaned up", within: .seconds(30)) {
                        try fleet.disks(of: source.id, on: "host1").isEmpty && fleet.guests(of: source.id)["host1"] == nil
                    }
                    try await fleet.proveWhole("vm1", source: source)

                    // And back again, to a host that placement chooses.
                    let restarted = try await fleet.godwit("server-start", "vm1")
                    #expect(restarted.status == 0, "\(restarted.error)")
                    let second = try await fleet.migrate("vm1")
                    let end = try await fleet.finish(second.id)
                    #expect(end.state == .ready)
                    #expect(end.targetHost?.name != "host2")
                    try await #expect(fleet.godwit("server-stop", "vm1", "--force").status == 0)
                    try await #expect(fleet.godwit("server-delete", "vm1").status == 0)
                    for host in ["host1", "host2", "host3"] { try #expect(fleet.disks(of: source.id, on: host).isEmpty) }
                }
            }
        }

        @Test func `the target's QEMU dies while memory moves, and the source runs on`() async throws {
            try await Heartbeats.listening { beats in
                try await DevFleet.run(hosts: 2) { fleet in
                    let source = try await fleet.startGuest(memoryMB: 256, dirtyMBs: 20, diskDataMB: 16, beatPort: beats.port)
                    let migration = try await fleet.migrate("vm1", "--prefer-host", "host2", "--max-bandwidth-mb", "15")
                    try await fleet.reach(.syncingMemory, migration.id) { $0.memoryTransferredBytes > 10 << 20 }
                    let start = ContinuousClock.now
                    let victim = try #require(try fleet.guests(of: source.id)["host2"])
                    #expect(kill(victim, SIGKILL) == 0)
                    // The next attempt may well succeed; what counts is that this one was given up and nothing was harmed.
                    let end = try await fleet.finish(migration.id)
                    #expect(end.state == .ready ? end.attempt > 1 : end.reason != nil)
                    let story = try await fleet.godwit("migration-show", migration.id)
                    #expect(story.output.contains("rollback"))
                    #expect(beats.longestGap(since: start) < .seconds(1), "paused for \(beats.longestGap(since: start))")
                    try await fleet.proveWhole("vm1", source: source)
                }
            }
        }

        @Test func `a second migration of the same server is refused while one is under way`() async throws {
            try await DevFleet.run(hosts: 2) { fleet in
                let source = try await fleet.startGuest(diskDataMB: 32)
                let first = try await fleet.migrate("vm1", "--max-bandwidth-mb", "5")
                let second = try await fleet.godwit("server-live-migrate", "vm1")
                #expect(second.status == 1)
                #expect(second.error.contains("migration"))
                for order in [["server-stop", "vm1"], ["server-delete", "vm1"]] {
                    try await #expect(fleet.godwit(order).status == 1, "\(order) meanwhile")
                }
                try await #expect(fleet.decode([MigrationView].self, "migration-list").count == 1)
                try await #expect(fleet.godwit("server-set-live-migrate-params", "vm1", "--max-bandwidth-mb", "1000").status == 0)
                let end = try await fleet.finish(first.id)
                #expect(end.state == .ready)
                try await fleet.proveWhole("vm1", source: source)
            }
        }
    }
}

extension TestFleet {
    /// Waits until a migration stands in a state with progress that satisfies the condition; fails when it is past that.
    func reach(_ state: MigrationState, _ id: String, _ condition: @Sendable (ProgressView) -> Bool = { _ in true }) async throws {
        try await eventually("migration in \(state.rawValue)", within: .seconds(90)) {
            let now = try await migration(id)
            if now.state.isFinished { throw Failure("the migration is \(now.state.rawValue) already: \(now.reason?.message ?? "")") }
            return now.state == state && condition(now.progress ?? ProgressView())
        }
    }
}
