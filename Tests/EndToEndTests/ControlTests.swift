import Client
import Fleet
import Foundation
import Testing

extension EndToEnd {
    /// A migration that is called off, in whatever state.
    @Suite(.serialized, .netFleet(hosts: 2))
    struct ControlTests {
        /// Cancels, and returns the migration as it ended.
        private func cancel(_ fleet: NetFleet, _ when: String, _ migrations: MigrationView..., asking workers: [String] = []) async throws {
            let begun = ContinuousClock.now
            let cancelled = try await fleet.godwit(["server-cancel-live-migrate"] + migrations.map(\.server.name))
            #expect(cancelled.status == 0, "\(cancelled.error)")
            for worker in workers { try await fleet.revive(worker) }
            for migration in migrations {
                let (code, sentence) = try await fleet.lose(migration.id)
                #expect(code == "cancelled", "\(when): \(code): \(sentence)")
                let now = try await fleet.server(migration.server.name)
                #expect(now.host.name == "host1" && now.status == .running && now.migration == nil, "\(when): \(now)")
            }
            print("outside: cancelled \(when): over after \(begun.duration(to: .now).milliseconds) ms")
        }

        @Test func `cancelled in any state the source is as it was, the target clean, and a second try works at once`() async throws {
            try await NetFleet.test { fleet in
                _ = try await fleet.createGuest(GuestRecipe(name: "vm2", dirtyMBs: 1, diskDataMB: 4))
                try await fleet.command("server-start", "vm2")
                let source = try await fleet.startGuest(GuestRecipe(dirtyMBs: 5, diskDataMB: 64))
                let other = try await fleet.ticking("vm2")
                let heard = try await fleet.watched("vm1", "cancelled in every state, then moved") {
                    for worker in NetFleet.workers { try await fleet.slay(worker) }
                    let first = try await fleet.migrate("vm1", "--prefer-host", "host2")
                    #expect(first.state == .pending)
                    try await cancel(fleet, "while pending", first, asking: NetFleet.workers)

                    try await fleet.command("host-set-slots", "host2", "--inbound", "0")
                    let second = try await fleet.migrate("vm1", "--prefer-host", "host2")
                    try await fleet.watch("it waits for a slot", second.id) { $0.state == .scheduling && $0.awaiting != nil }
                    try await cancel(fleet, "while scheduling", second)

                    // Two at once: one copies its disk, the other waits for its turn.
                    try await fleet.command("host-set-slots", "host2", "--inbound", "1")
                    let third = try await fleet.migrate("vm1", "--prefer-host", "host2", "--max-bandwidth-mb", "15")
                    try await fleet.reach(.syncingDisk, third.id) { $0.diskDoneBytes > 10 << 20 }
                    let fourth = try await fleet.migrate("vm2", "--prefer-host", "host2")
                    try await fleet.watch("it waits for a slot", fourth.id) { $0.state == .scheduling && $0.awaiting != nil }
                    try await cancel(fleet, "two at once, while its disk is copied and while it is scheduled", third, fourth)
                    for server in [source, other] { try await fleet.clean("host2", of: server) }

                    try await fleet.command("host-set-slots", "host2", "--inbound", "2")
                    let fifth = try await fleet.migrate("vm1", "--prefer-host", "host2", "--max-bandwidth-mb", "30")
                    try await fleet.reach(.syncingMemory, fifth.id) { $0.memoryTransferredBytes > 10 << 20 }
                    try await cancel(fleet, "while its memory is copied", fifth)
                    let last = try await fleet.migrate("vm1", "--prefer-host", "host2")
                    try await fleet.arrive(last.id)
                    try await fleet.clean("host1", of: source)
                }
                try await fleet.proveWhole("vm1", source: source, heard: heard)
                try await fleet.proveWhole("vm2", source: other)
            }
        }

        @Test func `cancelled while it switches the target decides, and exactly one guest runs on`() async throws {
            try await NetFleet.test { fleet in
                let source = try await fleet.startGuest(GuestRecipe(dirtyMBs: 2, diskDataMB: 4))
                let heard = try await fleet.watched("vm1", "cancelled while switching", silenceBelow: .seconds(15)) {
                    let migration = try await fleet.migrate("vm1", "--prefer-host", "host2", "--max-bandwidth-mb", "30")
                    try await fleet.reach(.syncingMemory, migration.id) { $0.memoryTransferredBytes > 4 << 20 }
                    // The source hands over to an agent that does not answer: nobody may run until it does.
                    try fleet.freeze("host2")
                    try await fleet.watch("the source handed over", migration.id) { $0.state == .switching }
                    let cancelled = try await fleet.godwit("server-cancel-live-migrate", "vm1")
                    #expect(cancelled.status == 0, "\(cancelled.error)")
                    try await fleet.watch("it says what it waits for", migration.id) { $0.awaiting?.contains("host2") == true }
                    let waiting = try await fleet.migration(migration.id)
                    print("outside: cancelled while switching: awaiting \(waiting.awaiting ?? "")")
                    try fleet.thaw("host2")
                    let end = try await fleet.finish(migration.id)
                    let place = try await fleet.server("vm1").host.name
                    print("outside: cancelled while switching: \(end.state.rawValue), on \(place): \(end.reason?.message ?? "")")
                    #expect(place == (end.state == .ready ? "host2" : "host1"))
                    if end.state == .failed { #expect(end.reason?.code == .cancelled) }
                    try await fleet.clean(end.state == .ready ? "host1" : "host2", of: source)
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
