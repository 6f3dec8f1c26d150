import Client
import Fleet
import Foundation
import Testing

extension EndToEnd {
    /// Rescue from a host that is down.
    @Suite(.serialized, .netFleet(hosts: 3))
    struct RescueTests {
        private func offline(_ fleet: NetFleet, _ host: String) async throws {
            try await eventually("\(host) is offline", within: .seconds(60)) {
                try await fleet.hosts().contains { $0.name == host && $0.status == .offline }
            }
        }

        @Test func `a host loses its power, and its server runs again on another`() async throws {
            try await NetFleet.test { fleet in
                let source = try await fleet.startGuest(GuestRecipe(diskDataMB: 16, disks: ["format=qcow2,storage=shared"]))
                let client = try await fleet.observe("vm1")
                try await fleet.powerOff("host1")
                let cut = Sight.now
                let heard = try client.sight().acknowledged
                try await offline(fleet, "host1")
                let unconfirmed = try await fleet.godwit("server-migrate", "--rescue-mode", "vm1")
                #expect(unconfirmed.status == 1 && unconfirmed.error.contains("confirm-host-down"), "\(unconfirmed.error)")
                let migration = try await fleet.move(
                    "vm1", "--rescue-mode", "--confirm-host-down", "--auto-start", "--prefer-host", "host2")
                try await fleet.arrive(migration.id)
                let now = try await fleet.ticking("vm1")
                #expect(now.host.name == "host2" && now.status == .running)
                print("outside: rescue: the guest is back after \((Sight.now - cut) / 1_000_000) ms")
                try await fleet.powerOn("host1")
                try await fleet.online(["host1"])
                try #expect(fleet.guests(of: source.id).keys.sorted() == ["host2"])
                try await fleet.stop("vm1")
                let disk = try #require(try fleet.disks(of: source.id, on: "host2").first)
                try await fleet.check("check-records", disk.path, "--at-least", String(heard), "--boots", "2")
            }
        }

        @Test func `a server with a local disk is refused, and the disk named`() async throws {
            try await NetFleet.test { fleet in
                let source = try await fleet.createGuest(
                    GuestRecipe(diskDataMB: 1, disks: ["format=qcow2,storage=shared", "format=qcow2"]))
                try await fleet.powerOff("host1")
                try await offline(fleet, "host1")
                let answer = try await fleet.godwit("server-migrate", "--rescue-mode", "--confirm-host-down", "vm1", "--wait")
                #expect(answer.status == 1)
                #expect(answer.error.contains("disk1"), "\(answer.error)")
                let now = try await fleet.server("vm1")
                #expect(now.host.name == "host1" && now.epoch >= source.epoch)
            }
        }

        @Test func `the old host comes back, ends its guest before anything else, and the history says so`() async throws {
            try await NetFleet.test { fleet in
                let source = try await fleet.startGuest(GuestRecipe(diskDataMB: 16, disks: ["format=qcow2,storage=shared"]))
                // Cut off, not off, and without its agent: its guest runs on, and the operator errs.
                try await fleet.slay("host1")
                try await fleet.cut("host1")
                try await offline(fleet, "host1")
                let migration = try await fleet.move("vm1", "--rescue-mode", "--confirm-host-down", "--prefer-host", "host2")
                try await fleet.arrive(migration.id)
                try #expect(fleet.guests(of: source.id).keys.sorted() == ["host1"])
                try await fleet.cut("host1", false)
                try await fleet.revive("host1")
                try await eventually("host1 ends its guest", within: .seconds(60)) { try fleet.guests(of: source.id).isEmpty }
                try await eventually("the history says so", within: .seconds(60)) {
                    try await fleet.godwit("migration-show", migration.id).output.lowercased().contains("guest")
                }
                print("outside: rescue: \(try await fleet.godwit("migration-show", migration.id).output)")
                let now = try await fleet.startGuest("vm1")
                #expect(now.host.name == "host2")
                try await fleet.stop("vm1")
                let disk = try #require(try fleet.disks(of: source.id, on: "host2").first)
                try await fleet.check("check-records", disk.path, "--at-least", "20", "--boots", "2")
            }
        }

        @Test func `QEMU's lock keeps a second guest from a disk that the first still has`() async throws {
            try await NetFleet.test { fleet in
                let source = try await fleet.startGuest(GuestRecipe(diskDataMB: 16, disks: ["format=qcow2,storage=shared"]))
                // Without its agent nobody ends the guest that still runs.
                try await fleet.slay("host1")
                try await fleet.cut("host1")
                try await offline(fleet, "host1")
                let answer = try await fleet.godwit(
                    "server-migrate", "vm1", "--rescue-mode", "--confirm-host-down", "--auto-start", "--prefer-host", "host2", "--wait")
                print("outside: rescue beside a running guest: exit \(answer.status): \(answer.error)")
                try await eventually("the start is refused for the lock", within: .seconds(60)) {
                    let server = try await fleet.server("vm1")
                    return server.status == .ready && server.note?.message.contains("lock") == true
                }
                try #expect(fleet.guests(of: source.id).keys.sorted() == ["host1"], "never two guests")
                try await fleet.cut("host1", false)
                try await fleet.revive("host1")
                try await eventually("host1 ends its guest", within: .seconds(60)) { try fleet.guests(of: source.id).isEmpty }
                let now = try await fleet.startGuest("vm1")
                #expect(now.host.name == "host2")
            }
        }
    }
}
