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

        private func told(_ what: String, _ fleet: NetFleet, _ id: String, _ holds: @Sendable (Reason) -> Bool) async throws {
            try await eventually(what, within: .seconds(120)) {
                try await fleet.history(id).contains { $0.reason.map(holds) ?? false }
            }
        }
    }
}
