import Client
import Fleet
import Foundation
import Testing

extension EndToEnd {
    /// What can go wrong: the source stays as it was, and a sentence says what to do.
    @Suite(.serialized, .netFleet(hosts: 2))
    struct FailureTests {
        private func intact(_ fleet: NetFleet, _ source: ServerView) async throws {
            let now = try await fleet.server(source.name)
            #expect(now.host.name == "host1" && now.status == source.status && now.migration == nil)
        }

        @Test func `no host fits: one table says why, in the forecast and in the failure`() async throws {
            try await NetFleet.test { fleet in
                let source = try await fleet.startGuest(GuestRecipe(diskDataMB: 8))
                try await #expect(fleet.godwit("host-disable", "host2").status == 0)
                let forecast = try await fleet.godwit("server-migrate-forecast", "vm1", "--live-migrate")
                let answer = try await fleet.godwit("server-live-migrate", "vm1", "--wait")
                try await #expect(fleet.godwit("host-enable", "host2").status == 0)
                #expect(answer.status == 1)
                for text in [forecast.output + forecast.error, answer.output + answer.error] {
                    let small = text.lowercased()
                    for word in ["host", "filter", "wanted", "found", "host2"] { #expect(small.contains(word), "\(word) in: \(text)") }
                }
                print("outside: no host fits:\n\(answer.output)\(answer.error)")
                try await intact(fleet, source)
            }
        }

        @Test(arguments: [false, true])
        func `the target's disk fills half-way`(live: Bool) async throws {
            try await NetFleet.test { fleet in
                let recipe = GuestRecipe(dirtyMBs: 2, diskDataMB: 160)
                let source = live ? try await fleet.startGuest(recipe) : try await fleet.createGuest(recipe)
                // A file system of its own that only host2 sees, with room enough until somebody else takes it.
                let storage = fleet.path("host2/local")
                let inside = try fleet.host("host2").command()
                try await #expect(execute(inside + ["mount", "-t", "tmpfs", "-o", "size=1400M", "small", storage]).status == 0)
                do {
                    try await fill(fleet, source, inside, storage, live: live)
                } catch {
                    _ = try await execute(inside + ["umount", "-l", storage])
                    throw error
                }
                try await #expect(execute(inside + ["umount", "-l", storage]).status == 0)
            }
        }

        private func fill(_ fleet: NetFleet, _ source: ServerView, _ inside: [String], _ storage: String, live: Bool) async throws {
            try await eventually("host2's room is known", within: .seconds(60)) {
                try await fleet.hosts().contains { host in
                    host.name == "host2" && host.storages.contains { $0.name == "local" && $0.freeBytes < 1500 << 20 }
                }
            }
            let options = ["--prefer-host", "host2", "--max-bandwidth-mb", "20"]
            let migration = live ? try await fleet.migrate("vm1", options) : try await fleet.move("vm1", options)
            try await fleet.reach(.syncingDisk, migration.id) { $0.diskDoneBytes > 40 << 20 }
            _ = try await execute(inside + ["sh", "-c", "dd if=/dev/zero of=\(storage)/filler bs=1M 2>&1"])
            let (code, sentence) = try await fleet.lose(migration.id, within: .seconds(240))
            print("outside: full disk, live \(live): \(code): \(sentence)")
            #expect(code == "disk-full" && sentence.contains("host2"), "\(code): \(sentence)")
            try await intact(fleet, source)
            try await eventually("the target is clean", within: .seconds(60)) {
                let list = try await execute(inside + ["find", storage, "-name", "disk*"])
                return list.output.isEmpty
            }
        }

        @Test(arguments: [false, true])
        func `the target's agent is gone`(live: Bool) async throws {
            try await NetFleet.test { fleet in
                let recipe = GuestRecipe(dirtyMBs: 2, diskDataMB: 120)
                let source = live ? try await fleet.startGuest(recipe) : try await fleet.createGuest(recipe)
                let options = ["--prefer-host", "host2", "--max-bandwidth-mb", "15"]
                let migration = live ? try await fleet.migrate("vm1", options) : try await fleet.move("vm1", options)
                try await fleet.reach(.syncingDisk, migration.id) { $0.diskDoneBytes > 30 << 20 }
                try await fleet.powerOff("host2")
                let (code, sentence) = try await fleet.lose(migration.id, within: .seconds(240))
                print("outside: target gone, live \(live): \(code): \(sentence)")
                try await intact(fleet, source)
                try await fleet.powerOn("host2")
                try await fleet.online(["host2"])
                let again = live ? try await fleet.migrate("vm1") : try await fleet.move("vm1")
                try await fleet.arrive(again.id)
            }
        }

        @Test func `a host with a foreign certificate is not talked to`() async throws {
            try await NetFleet.test { fleet in
                let source = try await fleet.startGuest(GuestRecipe(diskDataMB: 8))
                try await fleet.disguise("host2")
                let answer = try await fleet.godwit("server-live-migrate", "vm1", "--prefer-host", "host2", "--wait")
                print("outside: foreign certificate: \(answer.output)\(answer.error)")
                #expect(answer.status == 1 && !answer.error.isEmpty)
                try await intact(fleet, source)
                try await fleet.disguise("host2", false)
            }
        }
    }
}
