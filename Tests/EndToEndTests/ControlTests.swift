import Client
import Fleet
import Foundation
import Testing

extension EndToEnd {
    /// A migration that is called off, in whatever state.
    @Suite(.serialized, .netFleet(hosts: 2))
    struct ControlTests {
        enum Moment: String, CaseIterable, Sendable {
            case pending, disk, memory
        }

        @Test(arguments: Moment.allCases)
        func `cancelled, the source is as it was, the target clean, and a second try works at once`(moment: Moment) async throws {
            try await NetFleet.test { fleet in
                let source = try await fleet.startGuest(
                    GuestRecipe(memoryMB: 192, dirtyMBs: 5, diskDataMB: moment == .disk ? 120 : 16))
                let heard = try await fleet.watched("vm1", "cancelled while \(moment.rawValue)") {
                    if moment == .pending {
                        for worker in NetFleet.workers { try await fleet.slay(worker) }
                    }
                    let migration = try await fleet.migrate("vm1", "--prefer-host", "host2", "--max-bandwidth-mb", "15")
                    switch moment {
                    case .pending: #expect(migration.state == .pending)
                    case .disk: try await fleet.reach(.syncingDisk, migration.id) { $0.diskDoneBytes > 20 << 20 }
                    case .memory: try await fleet.reach(.syncingMemory, migration.id) { $0.memoryTransferredBytes > 10 << 20 }
                    }
                    let begun = ContinuousClock.now
                    let cancelled = try await fleet.godwit("server-cancel-live-migrate", "vm1")
                    #expect(cancelled.status == 0, "\(cancelled.error)")
                    if moment == .pending {
                        for worker in NetFleet.workers { try await fleet.revive(worker) }
                    }
                    let (code, _) = try await fleet.lose(migration.id)
                    #expect(code == "cancelled")
                    print("outside: cancelled while \(moment.rawValue): over after \(begun.duration(to: .now).milliseconds) ms")
                    let now = try await fleet.server("vm1")
                    #expect(now.host.name == "host1" && now.status == .running)
                    let second = try await fleet.migrate("vm1", "--prefer-host", "host2")
                    try await fleet.arrive(second.id)
                    try await fleet.clean("host1", of: source)
                }
                try await fleet.proveWhole("vm1", source: source, heard: heard)
            }
        }

        @Test func `what is not under way cannot be cancelled, and says so`() async throws {
            try await NetFleet.test { fleet in
                _ = try await fleet.createGuest(GuestRecipe(diskDataMB: 1))
                let answer = try await fleet.godwit("server-cancel-live-migrate", "vm1")
                #expect(answer.status == 1)
                #expect(!answer.error.isEmpty)
            }
        }
    }
}
