import Client
import Fleet
import Foundation
import Testing

extension EndToEnd {
    @Suite(.serialized, .netFleet(hosts: 2))
    struct NetPostCopyTests {
        @Test func `a guest that never converges goes over by post-copy, and a cut meanwhile costs it nothing but time`() async throws {
            try await NetFleet.test { fleet in
                let source = try await fleet.startGuest(GuestRecipe(memoryMB: 192, dirtyMBs: 60, dirtySetMB: 48, diskDataMB: 8))
                let heard = try await fleet.watched("vm1", "live, post-copy with a cut", silenceBelow: .seconds(60)) {
                    let migration = try await begin(fleet, source)
                    try await fleet.cut("host2")
                    try await told("the cut is known", fleet, migration.id) { $0.message.contains("broke") }
                    try await fleet.cut("host2", false)
                    try await fleet.arrive(migration.id)
                    try await told("it was joined anew", fleet, migration.id) { $0.message.contains("joined again") }
                }
                try await fleet.clean("host1", of: source)
                try await fleet.proveWhole("vm1", source: source, heard: heard)
            }
        }

        @Test func `the source host is lost before all memory was fetched: given up on command, and started again from its disks`()
            async throws
        {
            try await NetFleet.test { fleet in
                let source = try await fleet.startGuest(GuestRecipe(memoryMB: 192, dirtyMBs: 60, dirtySetMB: 48, diskDataMB: 8))
                let migration = try await begin(fleet, source)
                let early = try await fleet.godwit("server-set-live-migrate-params", "vm1", "--confirm-host-down")
                #expect(early.status == 1 && early.error.contains("host1"), "\(early)")
                try await fleet.powerOff("host1")
                try await eventually("host1 is missed", within: .seconds(60)) {
                    try await fleet.hosts().contains { $0.name == "host1" && $0.status == .offline }
                }
                try await eventually("the migration waits for it", within: .seconds(60)) {
                    try await fleet.godwit("migration-show", migration.id).output.contains("--confirm-host-down")
                }
                try await fleet.command("server-set-live-migrate-params", "vm1", "--confirm-host-down")
                let end = try await fleet.arrive(migration.id)
                let story = try await fleet.history(migration.id)
                #expect(story.contains { $0.reason?.code == .guestStopped && $0.reason?.message.contains("host1 is down") == true })
                #expect(end.targetHost?.name == "host2")
                try await eventually("vm1 is off on host2", within: .seconds(60)) {
                    let now = try await fleet.server("vm1")
                    return now.host.name == "host2" && now.status == .ready && now.migration == nil
                }
                try await fleet.command("server-start", "vm1")
                try await eventually("it runs", within: .seconds(60)) { try await fleet.server("vm1").status == .running }
            }
        }

        /// Has the target run the guest, with much of its memory still at the source.
        private func begin(_ fleet: NetFleet, _ source: ServerView) async throws -> MigrationView {
            let migration = try await fleet.migrate(
                "vm1", "--prefer-host", "host2", "--max-bandwidth-mb", "20", "--no-auto-converge", "--max-downtime-ms", "60",
                "--post-copy")
            try await told("the end of the rounds", fleet, migration.id) { $0.code == .postCopy }
            // What is missing takes its time.
            try await fleet.command("server-set-live-migrate-params", "vm1", "--max-bandwidth-mb", "4")
            try await eventually("host2 runs it", within: .seconds(60)) {
                try fleet.files(in: "host2/state").contains { file in
                    try file.lastPathComponent == "console.log" && String(contentsOf: file, encoding: .utf8).contains("GODWIT tick")
                }
            }
            return migration
        }

        private func told(_ what: String, _ fleet: NetFleet, _ id: String, _ holds: @Sendable (Reason) -> Bool) async throws {
            try await eventually(what, within: .seconds(120)) {
                try await fleet.history(id).contains { $0.reason.map(holds) ?? false }
            }
        }
    }
}
