import Client
import Fleet
import Foundation
import Testing

extension EndToEnd {
    /// `kill -9` of Godwit's processes in the middle of a migration, each followed by a start of the same again.
    @Suite(.serialized)
    struct CrashTests {
        /// A point in the middle of a state.
        enum Moment: CaseIterable, Sendable {
            case disk
            case memory
        }

        private func reach(_ moment: Moment, _ megabytes: Int64, _ fleet: DevFleet, _ migration: MigrationView) async throws {
            switch moment {
            case .disk: try await fleet.reach(.syncingDisk, migration.id) { $0.diskDoneBytes > megabytes << 20 }
            case .memory: try await fleet.reach(.syncingMemory, migration.id) { $0.memoryTransferredBytes > megabytes << 20 }
            }
        }

        /// Deaths of one migration each, in the order of their coming. A worker's is the last of its state: nobody looks until its lease is over.
        private static let deaths: [[(moment: Moment, megabytes: Int64, programs: [String])]] = [
            [
                (.disk, 10, ["godwit-controller"]), (.disk, 40, ["godwit-worker", "godwit-controller"]),
                (.memory, 10, ["godwit-controller"]), (.memory, 40, ["godwit-worker"]),
            ],
            [(.disk, 10, ["godwit-worker"]), (.memory, 10, ["godwit-worker", "godwit-controller"])],
        ]

        @Test func `a migration goes on where it was after the death of workers and controllers`() async throws {
            try await DevFleet.run { fleet in
                let source = try await fleet.startGuest(memoryMB: 192, dirtyMBs: 5, diskDataMB: 100)
                for (number, deaths) in Self.deaths.enumerated() {
                    let migration = try await fleet.migrate("vm1", "--max-bandwidth-mb", "20")
                    var before = ProgressView()
                    for death in deaths {
                        try await reach(death.moment, death.megabytes, fleet, migration)
                        before = try #require(try await fleet.migration(migration.id).progress)
                        for program in death.programs { try await fleet.kill(program) }
                        try await eventually("the API answers again", within: .seconds(30)) {
                            try await fleet.godwit("host-list").status == 0
                        }
                    }
                    let end = try await fleet.finish(migration.id)
                    #expect(end.state == .ready, "\(String(describing: end.reason))")
                    #expect(end.attempt == 1, "it did not start over")
                    let after = try #require(end.progress)
                    #expect(after.diskDoneBytes >= before.diskDoneBytes)
                    #expect(after.memoryTransferredBytes >= before.memoryTransferredBytes)
                    try #expect(fleet.guests(of: source.id).keys.sorted() == [number == 0 ? "host2" : "host1"])
                }
                try await fleet.proveWhole("vm1", source: source)
            }
        }

        @Test func `agents die, their guests run on, and each migration ends whole`() async throws {
            try await DevFleet.run { fleet in
                let source = try await fleet.startGuest(dirtyMBs: 5, diskDataMB: 80)
                for (moment, killsSource) in Moment.allCases.flatMap({ [($0, true), ($0, false)] }) {
                    let here = try await fleet.server("vm1").host.name
                    let there = here == "host1" ? "host2" : "host1"
                    let migration = try await fleet.migrate("vm1", "--max-bandwidth-mb", "20")
                    try await reach(moment, 10, fleet, migration)
                    let guests = try fleet.guests(of: source.id)
                    try await fleet.kill("godwit-agent", host: killsSource ? here : there)
                    try #expect(fleet.guests(of: source.id)[here] == guests[here], "the guest outlives the agent")
                    let end = try await fleet.finish(migration.id)
                    let now = try await fleet.server("vm1")
                    print("outside: \(killsSource ? "source" : "target")'s agent killed in \(moment): \(end.state), attempt \(end.attempt)")
                    #expect(now.status == .running && now.host.name == (end.state == .ready ? there : here))
                    if end.state == .failed { #expect(end.reason != nil) }
                    try await eventually("the other end is clean", within: .seconds(30)) {
                        let other = end.state == .ready ? here : there
                        return try fleet.disks(of: source.id, on: other).isEmpty && fleet.guests(of: source.id)[other] == nil
                    }
                }
                try await fleet.proveWhole("vm1", source: source)
            }
        }
    }
}
