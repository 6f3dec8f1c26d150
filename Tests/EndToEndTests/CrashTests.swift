import Client
import Fleet
import Foundation
import Testing

extension EndToEnd {
    /// `kill -9` of Godwit's processes in the middle of a migration, each followed by a start of the same again.
    @Suite(.serialized)
    struct CrashTests {
        /// A point in the middle of a state.
        enum Moment: String, CaseIterable, Sendable {
            case disk
            case memory
        }

        private func runToMoment(_ moment: Moment, _ fleet: DevFleet) async throws -> (ServerView, MigrationView) {
            let source = try await fleet.startGuest(memoryMB: 192, dirtyMBs: 5, diskDataMB: moment == .disk ? 160 : 16)
            let migration = try await fleet.migrate("vm1", "--prefer-host", "host2", "--max-bandwidth-mb", "20")
            switch moment {
            case .disk: try await fleet.reach(.syncingDisk, migration.id) { $0.diskDoneBytes > 20 << 20 }
            case .memory: try await fleet.reach(.syncingMemory, migration.id) { $0.memoryTransferredBytes > 10 << 20 }
            }
            return (source, migration)
        }

        @Test(arguments: Moment.allCases, [["godwit-worker"], ["godwit-controller"], ["godwit-worker", "godwit-controller"]])
        func `a migration goes on where it was after the death of`(moment: Moment, programs: [String]) async throws {
            try await DevFleet.run { fleet in
                let (source, migration) = try await runToMoment(moment, fleet)
                let before = try #require(try await fleet.migration(migration.id).progress)
                for program in programs { try await fleet.kill(program) }
                try await eventually("the API answers again", within: .seconds(30)) {
                    try await fleet.godwit("host-list").status == 0
                }
                let end = try await fleet.finish(migration.id)
                #expect(end.state == .ready, "\(String(describing: end.reason))")
                #expect(end.attempt == 1, "it did not start over")
                let after = try #require(end.progress)
                #expect(after.diskDoneBytes >= before.diskDoneBytes)
                #expect(after.memoryTransferredBytes >= before.memoryTransferredBytes)
                try await fleet.proveWhole("vm1", source: source)
            }
        }

        @Test(arguments: Moment.allCases, ["host1", "host2"])
        func `an agent dies, its guests run on, and the migration ends whole`(moment: Moment, host: String) async throws {
            try await DevFleet.run { fleet in
                let (source, migration) = try await runToMoment(moment, fleet)
                let guests = try fleet.guests(of: source.id)
                try await fleet.kill("godwit-agent", host: host)
                try #expect(fleet.guests(of: source.id)["host1"] == guests["host1"], "the guest outlives the agent")
                let end = try await fleet.finish(migration.id)
                if end.state == .failed {
                    #expect(end.reason != nil)
                    try await #expect(fleet.server("vm1").host.name == "host1")
                    try await eventually("the target is clean", within: .seconds(30)) {
                        try fleet.disks(of: source.id, on: "host2").isEmpty && fleet.guests(of: source.id)["host2"] == nil
                    }
                }
                try await fleet.proveWhole("vm1", source: source)
            }
        }
    }
}
