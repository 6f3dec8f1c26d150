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

        /// A server that runs and one that is off, and a migration of each to host2, both with so many bytes of disk copied.
        private func bothUnderWay(_ fleet: NetFleet, _ bytes: Int64) async throws -> [(source: ServerView, migration: MigrationView)] {
            let off = try await fleet.createGuest(GuestRecipe(name: "vm2", diskDataMB: 160))
            let on = try await fleet.startGuest(GuestRecipe(dirtyMBs: 2, diskDataMB: 160))
            let options = ["--prefer-host", "host2", "--max-bandwidth-mb", "10"]
            let both = [(on, try await fleet.migrate("vm1", options)), (off, try await fleet.move("vm2", options))]
            for (_, migration) in both { try await fleet.reach(.syncingDisk, migration.id) { $0.diskDoneBytes > bytes } }
            return both
        }

        @Test func `the target's disk fills half-way`() async throws {
            try await NetFleet.test { fleet in
                // A file system of its own that only host2 sees, with room enough until somebody else takes it.
                let storage = fleet.path("host2/local")
                try await fleet.inside("host2", "mount", "-t", "tmpfs", "-o", "size=2600M", "small", storage)
                do {
                    try await fill(fleet, storage)
                } catch {
                    try await fleet.inside("host2", "umount", "-l", storage)
                    throw error
                }
                try await fleet.inside("host2", "umount", "-l", storage)
            }
        }

        private func fill(_ fleet: NetFleet, _ storage: String) async throws {
            try await eventually("host2's room is known", within: .seconds(60)) {
                try await fleet.hosts().contains { host in
                    host.name == "host2" && host.storages.contains { $0.name == "local" && $0.freeBytes < 2700 << 20 }
                }
            }
            let both = try await bothUnderWay(fleet, 10 << 20)
            let inside = try fleet.host("host2").command()
            let most = "fallocate -l $(($(df --output=avail -B1 \(storage) | tail -n 1) - (16 << 20))) \(storage)/most"
            _ = try await execute(inside + ["sh", "-c", "\(most); dd if=/dev/zero of=\(storage)/rest bs=64K 2>&1"])
            for (source, migration) in both {
                let (code, sentence) = try await fleet.lose(migration.id, within: .seconds(120))
                print("outside: full disk, \(migration.mode.rawValue): \(code): \(sentence)")
                #expect(code == "disk-full", "\(code): \(sentence)")
                for word in ["host2", "full|no space left", "free some room", "another host"] {
                    #expect(word.split(separator: "|").contains { sentence.contains($0) }, "\(word) in: \(sentence)")
                }
                try await intact(fleet, source)
            }
            try await eventually("the target is clean", within: .seconds(60)) {
                try await execute(inside + ["find", storage, "-name", "disk*"]).output.isEmpty
            }
        }

        @Test func `the target loses its power`() async throws {
            try await NetFleet.test { fleet in
                let both = try await bothUnderWay(fleet, 20 << 20)
                try await fleet.powerOff("host2")
                for (source, migration) in both {
                    let (code, sentence) = try await fleet.lose(migration.id, within: .seconds(240))
                    print("outside: target gone, \(migration.mode.rawValue): \(code): \(sentence)")
                    #expect(sentence.contains("host2") && sentence.contains("godwit-agent runs"), "\(code): \(sentence)")
                    try await intact(fleet, source)
                }
                try await fleet.powerOn("host2")
                try await fleet.online(["host2"])
                for again in [try await fleet.migrate("vm1"), try await fleet.move("vm2")] { try await fleet.arrive(again.id) }
            }
        }

        @Test func `the target's agent answers, and nothing can be sent to it`() async throws {
            try await NetFleet.test { fleet in
                let source = try await fleet.startGuest(GuestRecipe(dirtyMBs: 2, diskDataMB: 4))
                // Streams go to an address of their own, whose packets are lost on the way.
                let configuration = fleet.work.appending(path: "host2/agent.yaml")
                let before = try String(contentsOf: configuration, encoding: .utf8)
                try Data((before + "migrationAddress: 10.99.0.12\n").utf8).write(to: configuration)
                try await fleet.host("host2").ip("addr add 10.99.0.12/32 dev lo")
                try await fleet.host("host1").ip("route add 10.99.0.12/32 via 10.77.0.1")
                try await fleet.slay("host2")
                try await fleet.revive("host2")
                try await fleet.online(["host2"])
                let migration = try await fleet.migrate("vm1", "--prefer-host", "host2")
                try await fleet.watch("it is told", migration.id) { $0.reason != nil || $0.attempt > 1 }
                let told = try await fleet.history(migration.id).compactMap(\.reason?.message)
                print("outside: no way for the streams: \(told)")
                #expect(
                    told.contains { line in
                        ["host1", "host2", "10.99.0.12", "took no connection within", "network between"].allSatisfy(line.contains)
                    }, "\(told)")
                try await fleet.command("server-cancel-live-migrate", "vm1", "--wait")
                try await intact(fleet, source)
                try Data(before.utf8).write(to: configuration)
                try await fleet.slay("host2")
                try await fleet.revive("host2")
                try await fleet.host("host1").ip("route del 10.99.0.12/32")
            }
        }

        @Test func `a host with a foreign certificate is not talked to`() async throws {
            try await NetFleet.test { fleet in
                let source = try await fleet.startGuest(GuestRecipe(diskDataMB: 8))
                try await fleet.disguise("host2")
                let answer = try await fleet.godwit("server-live-migrate", "vm1", "--prefer-host", "host2", "--wait")
                print("outside: foreign certificate: \(answer.output)\(answer.error)")
                let told = answer.output + answer.error
                #expect(answer.status == 1)
                for word in ["host2", "is not trusted", "godwit ca-issue"] { #expect(told.contains(word), "\(word)") }
                try await intact(fleet, source)
                try await fleet.disguise("host2", false)
            }
        }
    }
}
