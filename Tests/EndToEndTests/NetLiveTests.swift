import Client
import Fleet
import Foundation
import Testing

extension EndToEnd {
    /// Live migration between hosts of a network, watched by a client outside.
    @Suite(.serialized, .netFleet(hosts: 3))
    struct NetLiveTests {
        @Test func `a client outside pings, asks and reads through the switch and loses nothing`() async throws {
            try await NetFleet.test { fleet in
                let source = try await fleet.startGuest(GuestRecipe(memoryMB: 256, dirtyMBs: 20))
                let client = try await fleet.observe("vm1")
                let start = Sight.now
                let migration = try await fleet.migrate("vm1", "--prefer-host", "host2")
                let end = try await fleet.finish(migration.id)
                #expect(end.state == .ready, "\(String(describing: end.reason))")
                try await fleet.hear(client, further: 100)
                try client.report("live, two hosts", since: start, silenceBelow: .seconds(3))
                try await fleet.proveWhole("vm1", source: source, heard: client.sight().acknowledged)
            }
        }

        @Test func `the target's announcement alone brings a quiet guest's client to it`() async throws {
            try await NetFleet.test { fleet in
                let source = try await fleet.startGuest(GuestRecipe(dirtyMBs: 0, diskDataMB: 16, quiet: true))
                let client = try await fleet.observe("vm1", quiet: true)
                let start = Sight.now
                let migration = try await fleet.migrate("vm1", "--prefer-host", "host2")
                try await #expect(fleet.finish(migration.id).state == .ready)
                try await fleet.hear(client, further: 100)
                try client.report("live, a quiet guest", since: start, silenceBelow: .seconds(3))
                let again = try await fleet.server("vm1")
                #expect(again.nics == source.nics, "addresses stay")
                try await fleet.proveWhole("vm1", source: source, heard: client.sight().acknowledged)
            }
        }

        @Test(arguments: [MigrationState.syncingDisk, .syncingMemory])
        func `a cut between the hosts harms nothing, and a later try succeeds`(state: MigrationState) async throws {
            try await NetFleet.test { fleet in
                let source = try await fleet.startGuest(
                    GuestRecipe(memoryMB: 192, dirtyMBs: 5, diskDataMB: state == .syncingDisk ? 160 : 16))
                let client = try await fleet.observe("vm1")
                let start = Sight.now
                let migration = try await fleet.migrate("vm1", "--prefer-host", "host2", "--max-bandwidth-mb", "20")
                try await fleet.reach(state, migration.id) { $0.diskDoneBytes + $0.memoryTransferredBytes > 30 << 20 }
                try await fleet.cut("host2")
                try await eventually("the cut is noticed", within: .seconds(60)) {
                    let now = try await fleet.migration(migration.id)
                    return now.direction == .rollback || now.attempt > 1 || now.state.isFinished
                }
                try await fleet.cut("host2", false)
                let end = try await fleet.finish(migration.id)
                if end.state == .failed {
                    #expect(end.reason != nil)
                    let second = try await fleet.migrate("vm1", "--prefer-host", "host2")
                    try await #expect(fleet.finish(second.id).state == .ready)
                }
                try client.report("live, host2 cut off in \(state.rawValue)", since: start, silenceBelow: .seconds(3))
                try await fleet.proveWhole("vm1", source: source, heard: client.sight().acknowledged)
            }
        }
    }
}

extension NetFleet {
    /// Waits until a client has heard the guest so many times more.
    func hear(_ client: Observer, further count: Int) async throws {
        let before = try client.sight().of(.echo).count
        try await eventually("the guest is heard outside", within: .seconds(60)) { try client.sight().of(.echo).count > before + count }
    }
}
