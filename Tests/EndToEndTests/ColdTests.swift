import Client
import Fleet
import Foundation
import Testing

extension EndToEnd {
    /// Cold migration: a server that is off, its disks, and what lies beside them.
    @Suite(.serialized, .netFleet(hosts: 3))
    struct ColdTests {
        /// A server that ran, wrote its records, and was switched off by its power button.
        private func written(_ fleet: NetFleet, _ recipe: GuestRecipe) async throws -> ServerView {
            let server = try await fleet.startGuest(recipe)
            try await fleet.stop(recipe.name)
            return server
        }

        private func allocated(_ fleet: NetFleet, _ server: ServerView, on host: String) throws -> Int64 {
            try fleet.files(in: "\(host)/local/\(server.id)").reduce(0) { $0 + (try fleet.allocated($1)) }
        }

        /// Its records are there, and it starts where it is now and goes on with them.
        private func proveStarts(_ fleet: NetFleet, _ name: String) async throws {
            let now = try await fleet.startGuest(name)
            try await fleet.stop(name)
            let disk = try #require(try fleet.disks(of: now.id, on: now.host.name).min { $0.lastPathComponent < $1.lastPathComponent })
            try await fleet.check("check-records", disk.path, "--at-least", "20", "--boots", "3")
        }

        @Test func `only what is allocated travels, by every kind of disk, and the source goes only after the commit`() async throws {
            try await NetFleet.test { fleet in
                let source = try await written(fleet, GuestRecipe(diskDataMB: 64, disks: ["format=qcow2", "format=raw", "format=qcow2"]))
                let disk = try #require(try fleet.disks(of: source.id, on: "host1").first { $0.lastPathComponent.hasPrefix("disk0") })
                try await succeed("qemu-img", "snapshot", "-c", "before", disk.path)
                let data = try allocated(fleet, source, on: "host1")
                let before = try await fleet.sentBytes(by: "host1")
                let answer = try await fleet.godwit("server-migrate", "vm1", "--prefer-host", "host2", "--wait")
                #expect(answer.status == 0, "\(answer.error)")
                let sent = try await fleet.sentBytes(by: "host1") - before
                print("outside: cold: \(data >> 20) MiB allocated of 1.1 GiB, \(sent >> 20) MiB on the wire")
                #expect(sent < data * 105 / 100 + (4 << 20))
                let now = try await fleet.server("vm1")
                #expect(now.status == .ready && now.host.name == "host2")
                try await fleet.clean("host1", of: source)
                let moved = try #require(try fleet.disks(of: source.id, on: "host2").first { $0.lastPathComponent.hasPrefix("disk0") })
                try await #expect(succeed("qemu-img", "snapshot", "-l", moved.path).contains("before"), "internal snapshots travel")
                try #expect(allocated(fleet, source, on: "host2") < data + (16 << 20), "holes stay holes")
                try await proveStarts(fleet, "vm1")
            }
        }

        @Test func `UEFI variables travel, and auto-start starts it there`() async throws {
            try await NetFleet.test { fleet in
                let source = try await fleet.createGuest(
                    GuestRecipe(memoryMB: 192, diskDataMB: 16, boots: false, options: ["--firmware", "uefi"]))
                try await fleet.command("server-start", "vm1")
                try await eventually("the firmware keeps variables", within: .seconds(30)) {
                    try fleet.files(in: "host1").contains { $0.lastPathComponent == "nvram.fd" }
                }
                try await fleet.command("server-stop", "vm1", "--force")
                let file = try #require(try fleet.files(in: "host1").first { $0.lastPathComponent == "nvram.fd" })
                // Something that no other host can have by itself, where the firmware keeps nothing.
                let handle = try FileHandle(forUpdating: file)
                let size = try handle.seekToEnd()
                try handle.seek(toOffset: size - 16)
                try handle.write(contentsOf: Data("GODWIT UEFI MARK".utf8))
                try handle.close()
                let migration = try await fleet.move("vm1", "--auto-start", "--prefer-host", "host2")
                let end = try await fleet.arrive(migration.id)
                #expect(end.targetHost?.name == "host2")
                try await eventually("it is started", within: .seconds(60)) { try await fleet.server("vm1").status == .running }
                try #expect(fleet.guests(of: source.id).keys.sorted() == ["host2"])
                let there = try #require(try fleet.files(in: "host2").first { $0.lastPathComponent == "nvram.fd" })
                try #expect(Data(contentsOf: there).suffix(16) == Data("GODWIT UEFI MARK".utf8))
                try await fleet.clean("host1", of: source)
            }
        }

        @Test func `a TPM's state and the base of a disk travel`() async throws {
            try await NetFleet.test { fleet in
                let image = fleet.work.appending(path: "golden.img")
                try fleet.makeImage(image, dataMB: 40)
                defer { try? FileManager.default.removeItem(at: image) }
                _ = try await written(
                    fleet,
                    GuestRecipe(disks: ["base=\(image.path)", "format=qcow2"], append: "godwit.tpm=1", options: ["--tpm", "2.0"]))
                let migration = try await fleet.move("vm1", "--prefer-host", "host2")
                try await fleet.arrive(migration.id)
                let now = try await fleet.startGuest("vm1")
                try await eventually("the TPM is heard of", within: .seconds(30)) { try fleet.console(of: now).contains("GODWIT tpm ") }
                let line = try #require(try fleet.console(of: now).split(separator: "\n").first { $0.contains("GODWIT tpm ") })
                #expect(!line.contains(" found=0 ") && line.contains(" tpmerr=0 "), "\(line)")
                try await fleet.stop("vm1")
                let disk = try #require(try fleet.disks(of: now.id, on: "host2").min { $0.lastPathComponent < $1.lastPathComponent })
                try await fleet.check("check-records", disk.path, "--at-least", "20", "--boots", "2")
            }
        }

        @Test func `a base that is missing ends it, the server untouched`() async throws {
            try await NetFleet.test { fleet in
                let image = fleet.work.appending(path: "golden.img")
                try fleet.makeImage(image, dataMB: 8)
                defer { try? FileManager.default.removeItem(at: image) }
                let source = try await fleet.createGuest(GuestRecipe(disks: ["base=\(image.path)"]))
                let bases = try fleet.files(in: "host1/local/.base")
                #expect(!bases.isEmpty)
                for base in bases { try FileManager.default.moveItem(at: base, to: base.appendingPathExtension("away")) }
                let migration = try await fleet.move("vm1", "--prefer-host", "host2")
                let (code, sentence) = try await fleet.lose(migration.id)
                print("outside: cold, no base: \(code): \(sentence)")
                #expect(code == "base-missing", "\(sentence)")
                try await #expect(fleet.server("vm1").host.name == "host1")
                for base in bases { try FileManager.default.moveItem(at: base.appendingPathExtension("away"), to: base) }
                try await fleet.clean("host2", of: source)
                let again = try await fleet.move("vm1", "--prefer-host", "host2")
                try await fleet.arrive(again.id)
            }
        }

        enum Blow: String, CaseIterable, Sendable {
            case cut, sourceAgent, targetAgent, worker
        }

        @Test(arguments: Blow.allCases)
        func `a copy that broke off goes on where it was`(blow: Blow) async throws {
            try await NetFleet.test { fleet in
                let source = try await written(fleet, GuestRecipe(diskDataMB: 160))
                let data = try allocated(fleet, source, on: "host1")
                let before = try await fleet.sentBytes(by: "host1")
                let migration = try await fleet.move("vm1", "--prefer-host", "host2", "--max-bandwidth-mb", "20")
                try await fleet.reach(.syncingDisk, migration.id) { $0.diskDoneBytes > data / 2 }
                let locked = try await fleet.godwit("server-start", "vm1")
                #expect(locked.status == 1 && !locked.error.isEmpty, "it cannot be started meanwhile")
                switch blow {
                case .cut:
                    try await fleet.cut("host2")
                    try await pause(.seconds(3))
                    try await fleet.cut("host2", false)
                case .sourceAgent, .targetAgent:
                    let host = blow == .sourceAgent ? "host1" : "host2"
                    try await fleet.slay(host)
                    try await fleet.revive(host)
                case .worker:
                    for worker in NetFleet.workers { try await fleet.slay(worker) }
                    for worker in NetFleet.workers { try await fleet.revive(worker) }
                }
                try await fleet.arrive(migration.id)
                let sent = try await fleet.sentBytes(by: "host1") - before
                print("outside: cold, \(blow.rawValue) half-way: \(data >> 20) MiB allocated, \(sent >> 20) MiB on the wire")
                #expect(sent < data * 105 / 100 + (4 << 20), "what was there was not sent again")
                try await fleet.clean("host1", of: source)
                try await proveStarts(fleet, "vm1")
            }
        }

        @Test func `a byte that is not what was sent is found, named, and copied again`() async throws {
            try await NetFleet.test { fleet in
                let source = try await written(fleet, GuestRecipe(diskDataMB: 120))
                let migration = try await fleet.move("vm1", "--prefer-host", "host2", "--max-bandwidth-mb", "20")
                try await fleet.reach(.syncingDisk, migration.id) { $0.diskDoneBytes > 60 << 20 }
                let file = try #require(
                    try fleet.files(in: "host2/local").filter { $0.path.contains(source.id) }.max {
                        try fleet.allocated($0) < fleet.allocated($1)
                    })
                let handle = try FileHandle(forUpdating: file)
                try handle.seek(toOffset: 40 << 20)
                let byte = try #require(try handle.read(upToCount: 1)?.first)
                try handle.seek(toOffset: 40 << 20)
                try handle.write(contentsOf: Data([byte ^ 0x40]))
                try handle.close()
                try await fleet.arrive(migration.id)
                let story = try await fleet.godwit("migration-show", migration.id).output
                print(
                    "outside: cold, a flipped byte: \(story.split(separator: "\n").filter { $0.contains("differ") || $0.contains("hash") })"
                )
                try await proveStarts(fleet, "vm1")
            }
        }

        @Test func `a server whose disks are all shared moves by metadata alone`() async throws {
            try await NetFleet.test { fleet in
                let source = try await written(fleet, GuestRecipe(diskDataMB: 64, disks: ["format=qcow2,storage=shared"]))
                let before = try await fleet.sentBytes(by: "host1")
                let migration = try await fleet.move("vm1", "--prefer-host", "host2")
                try await fleet.arrive(migration.id)
                let sent = try await fleet.sentBytes(by: "host1") - before
                #expect(sent < 4 << 20, "nothing is copied, yet host1 sent \(sent) bytes")
                try await #expect(fleet.history(migration.id).allSatisfy { $0.to != .syncingDisk })
                try await #expect(fleet.server("vm1").host.name == "host2")
                try #expect(fleet.disks(of: source.id, on: "host2").count == 1)
                try await proveStarts(fleet, "vm1")
            }
        }

        @Test func `local and shared disks move each by its own nature`() async throws {
            try await NetFleet.test { fleet in
                let source = try await written(
                    fleet, GuestRecipe(diskDataMB: 32, disks: ["format=qcow2,storage=shared", "format=qcow2", "format=raw"]))
                let migration = try await fleet.move("vm1", "--prefer-host", "host2")
                try await fleet.arrive(migration.id)
                try #expect(fleet.files(in: "host2/local/\(source.id)").count { $0.lastPathComponent.hasPrefix("disk") } == 2)
                try #expect(fleet.files(in: "shared/\(source.id)").count { $0.lastPathComponent.hasPrefix("disk") } == 1)
                try await fleet.clean("host1", of: source)
                try await proveStarts(fleet, "vm1")
            }
        }
    }
}
