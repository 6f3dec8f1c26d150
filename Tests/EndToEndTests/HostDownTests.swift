import Client
import Fleet
import Foundation
import Synchronization
import Testing

extension EndToEnd {
    /// Hosts that die, or seem to.
    @Suite(.serialized, .netFleet(hosts: 3))
    struct HostDownTests {
        private static let shared = GuestRecipe(diskDataMB: 1, disks: ["format=qcow2,storage=shared"])

        private func enable(_ fleet: NetFleet, _ host: String) async throws {
            let answer = try await fleet.godwit("host-auto-migrate-on-host-down", "--auto-migrate-on-host-down", "enable", host)
            try #require(answer.status == 0, "\(answer.error)")
            try await eventually("the guard of \(host) has confirmed", within: .seconds(30)) {
                try await fleet.hosts().contains { $0.name == host && $0.guardian == .confirmed }
            }
        }

        /// A guest on host1, which is to be started on host2, and on none other, when host1 dies.
        private func startGuarded(_ fleet: NetFleet) async throws -> ServerView {
            let server = try await fleet.startGuest(Self.shared)
            try await enable(fleet, "host1")
            _ = try await fleet.godwit("host-disable", "host3")
            return server
        }

        private final class Looks: Sendable {
            let seen = Mutex((count: 0, last: [String: UInt64](), most: 0))
        }

        /// Looks at the machine's processes again and again while the body runs: never two guests of the server.
        private func never(two server: String, _ fleet: NetFleet, _ body: () async throws -> Void) async throws {
            let looks = Looks()
            try await withThrowingTaskGroup { group in
                group.addTask {
                    while !Task.isCancelled {
                        let guests = try fleet.guests(of: server)
                        looks.seen.withLock { looks in
                            looks.count += 1
                            looks.most = max(looks.most, guests.count)
                            for host in guests.keys { looks.last[host] = Sight.now }
                        }
                        try? await Task.sleep(for: .milliseconds(20))
                    }
                }
                try await body()
                group.cancelAll()
                try await group.waitForAll()
            }
            let seen = looks.seen.withLock { $0 }
            #expect(seen.most == 1, "guests of the server at one time")
            print(
                "outside: host-down: looked \(seen.count) times; last seen, ms before the end: \(seen.last.mapValues { (Sight.now - $0) / 1_000_000 })"
            )
        }

        private func moves(of server: ServerView, _ fleet: NetFleet) async throws -> [MigrationView] {
            try await fleet.decode([MigrationView].self, "migration-list", "--server", server.id)
        }

        private func running(_ fleet: NetFleet, on host: String) async throws {
            try await eventually("vm1 runs on \(host)", within: .seconds(60)) {
                let server = try await fleet.server("vm1")
                return server.host.name == host && server.status == .running
            }
        }

        @Test func `a host that is cut off ends its guest, and only then another starts the server`() async throws {
            try await NetFleet.test { fleet in
                let source = try await startGuarded(fleet)
                try await never(two: source.id, fleet) {
                    try await fleet.cut("host1")
                    try await running(fleet, on: "host2")
                }
                let rescue = try #require(try await moves(of: source, fleet).first)
                #expect(rescue.mode == .rescue && rescue.actor == "host-down" && rescue.options.provenByLease != nil)
                #expect(try await fleet.history(rescue.id).contains { $0.reason?.code == .hostProvenDown })
                print("outside: host-down: \(try await fleet.godwit("host-show", "host1").output)")
                // Back again, it has nothing of the server and takes new ones.
                try await fleet.cut("host1", false)
                try await fleet.online(["host1"])
                try await eventually("its guard has confirmed again", within: .seconds(30)) {
                    try await fleet.hosts().contains { $0.name == "host1" && $0.guardian == .confirmed && $0.downNote == nil }
                }
                try #expect(fleet.guests(of: source.id).keys.sorted() == ["host2"])
                let back = try await fleet.migrate("vm1", "--prefer-host", "host1")
                try await fleet.arrive(back.id)
                _ = try await fleet.godwit("host-enable", "host3")
                try await fleet.stop("vm1")
                let disk = try #require(try fleet.disks(of: source.id, on: "host1").first)
                try await fleet.check("check-records", disk.path, "--at-least", "5", "--boots", "2")
            }
        }

        @Test func `without a guard, or with the switch off, nothing is started elsewhere, and that is said`() async throws {
            try await NetFleet.test { fleet in
                let unguarded = try await fleet.startGuest(Self.shared)
                var recipe = Self.shared
                (recipe.name, recipe.host) = ("vm2", "host2")
                let unwanted = try await fleet.startGuest(recipe)
                try await enable(fleet, "host1")
                try await fleet.slay("guard-host1")
                try await eventually("the guard is missed", within: .seconds(20)) {
                    try await fleet.hosts().contains { $0.name == "host1" && $0.guardian == .absent }
                }
                for host in ["host1", "host2"] { try await fleet.cut(host) }
                try await eventually("host-show says why", within: .seconds(40)) {
                    try await fleet.godwit("host-show", "host1").output.replacing("\n", with: " ").contains("nothing proves it dead")
                }
                // Longer than it takes where there is proof.
                try await pause(.seconds(NetFleet.hostLease + 20))
                try #expect(fleet.guests(of: unguarded.id).keys.sorted() == ["host1"])
                try #expect(fleet.guests(of: unwanted.id).keys.sorted() == ["host2"])
                for server in [unguarded, unwanted] { #expect(try await moves(of: server, fleet).isEmpty) }
            }
        }

        @Test func `a guard that dies with the network is made up for by the agent`() async throws {
            try await NetFleet.test { fleet in
                let source = try await startGuarded(fleet)
                try await never(two: source.id, fleet) {
                    try await fleet.cut("host1")
                    try await fleet.slay("guard-host1")
                    try await running(fleet, on: "host2")
                }
                _ = try await fleet.godwit("host-enable", "host3")
            }
        }

        @Test func `a host whose agent died ends its guest too, and the next agent starts nothing that is elsewhere`() async throws {
            try await NetFleet.test { fleet in
                let source = try await startGuarded(fleet)
                try await never(two: source.id, fleet) {
                    try await fleet.slay("host1")
                    try await running(fleet, on: "host2")
                    try await fleet.revive("host1")
                    try await fleet.online(["host1"])
                    try await pause(.seconds(3))
                }
                _ = try await fleet.godwit("host-enable", "host3")
                try #expect(fleet.guests(of: source.id).keys.sorted() == ["host2"])
            }
        }

        @Test func `a host that is back before its death is certain starts its servers again itself`() async throws {
            try await NetFleet.test { fleet in
                let source = try await fleet.startGuest(Self.shared)
                try await enable(fleet, "host1")
                try await never(two: source.id, fleet) {
                    try await fleet.cut("host1")
                    try await eventually("the guest is ended", within: .seconds(30)) { try fleet.guests(of: source.id).isEmpty }
                    try await fleet.cut("host1", false)
                    try await eventually("a guest is back", within: .seconds(40)) {
                        try fleet.guests(of: source.id).keys.sorted() == ["host1"]
                    }
                    try await running(fleet, on: "host1")
                }
                #expect(try await moves(of: source, fleet).isEmpty)
            }
        }
    }
}
