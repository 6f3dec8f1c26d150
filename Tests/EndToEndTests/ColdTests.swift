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

        @Test func `only what is allocated travels, within its budget, by every kind of disk`() async throws {
            try await NetFleet.test { fleet in
                let source = try await written(fleet, GuestRecipe(diskDataMB: 64, disks: ["format=qcow2", "format=raw", "format=qcow2"]))
                let disk = try #require(try fleet.disks(of: source.id, on: "host1").first { $0.lastPathComponent.hasPrefix("disk0") })
                try await succeed("qemu-img", "snapshot", "-c", "before", disk.path)
                let data = try allocated(fleet, source, on: "host1")
                let before = try await fleet.sentBytes(by: "host1")
                let begun = ContinuousClock.now
                let answer = try await fleet.godwit("server-migrate", "vm1", "--prefer-host", "host2", "--max-bandwidth-mb", "20", "--wait")
                let ms = begun.duration(to: .now).milliseconds
                #expect(answer.status == 0, "\(answer.error)")
                let sent = try await fleet.sentBytes(by: "host1") - before
                print(
                    "outside: cold: \(data >> 20) MiB allocated of 1.1 GiB, \(sent >> 20) MiB on the wire, \(sent / ms / 1000) of 20 MB/s")
                #expect(sent < data * 105 / 100 + (4 << 20))
                #expect(sent / ms < 23_000, "over its budget")
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
            case cut, sourceAgent, targetAgent, workers
        }

        private func strike(_ fleet: NetFleet, _ blow: Blow) async throws {
            switch blow {
            case .cut:
                try await fleet.cut("host2")
                try await pause(.seconds(3))
                try await fleet.cut("host2", false)
            case .sourceAgent:
                try await fleet.slay("host1")
                try #expect(fleet.lenders(on: "host1").count == 1, "what lends the files outlives the agent")
                try await fleet.revive("host1")
            case .targetAgent:
                try await fleet.slay("host2")
                try await fleet.revive("host2")
            case .workers:
                for worker in NetFleet.workers { try await fleet.slay(worker) }
                for worker in NetFleet.workers { try await fleet.revive(worker) }
            }
        }

        @Test func `a copy that breaks off again and again goes on where it was`() async throws {
            try await NetFleet.test { fleet in
                let source = try await written(fleet, GuestRecipe(diskDataMB: 200))
                let data = try allocated(fleet, source, on: "host1")
                let before = try await fleet.sentBytes(by: "host1")
                let migration = try await fleet.move("vm1", "--prefer-host", "host2", "--max-bandwidth-mb", "20")
                for (number, blow) in Blow.allCases.enumerated() {
                    try await fleet.reach(.syncingDisk, migration.id) { $0.diskDoneBytes > data * Int64(number + 1) / 6 }
                    if number == 0 {
                        let locked = try await fleet.godwit("server-start", "vm1")
                        #expect(locked.status == 1 && !locked.error.isEmpty, "it cannot be started meanwhile")
                    }
                    try await strike(fleet, blow)
                    let sent = try await fleet.sentBytes(by: "host1") - before
                    print("outside: cold, broken off by \(blow.rawValue) with \(sent >> 20) of \(data >> 20) MiB on the wire")
                }
                try await fleet.arrive(migration.id)
                let sent = try await fleet.sentBytes(by: "host1") - before
                print("outside: cold, broken off four times: \(data >> 20) MiB allocated, \(sent >> 20) MiB on the wire")
                #expect(sent < data * 105 / 100 + (4 << 20), "what was there was not sent again")
                try await fleet.clean("host1", of: source)
                try #expect(fleet.lenders().isEmpty, "nothing lends any more")
                try await proveStarts(fleet, "vm1")
            }
        }

        @Test func `a lender whose agent never comes back ends`() async throws {
            try await NetFleet.test { fleet in
                _ = try await fleet.createGuest(GuestRecipe(diskDataMB: 64))
                let migration = try await fleet.move("vm1", "--prefer-host", "host2", "--max-bandwidth-mb", "5")
                try await fleet.reach(.syncingDisk, migration.id) { $0.diskDoneBytes > 4 << 20 }
                try await #expect(fleet.server("vm1").status == .migrating)
                try await fleet.slay("host1")
                try #expect(fleet.lenders(on: "host1").count == 1)
                // As if that had been a while ago.
                let sign = try #require(try fleet.files(in: "host1/state").first { $0.lastPathComponent == "loan.pid" })
                try FileManager.default.setAttributes([.modificationDate: Date.now.addingTimeInterval(-3600)], ofItemAtPath: sign.path)
                try await eventually("it ends", within: .seconds(20)) { try fleet.lenders(on: "host1").isEmpty }
                try await fleet.revive("host1")
                try await fleet.command("migration-cancel", migration.id, "--wait")
                try #expect(fleet.lenders().isEmpty)
                let now = try await fleet.server("vm1")
                #expect(now.status == .ready && now.host.name == "host1")
            }
        }

        @Test func `a byte flipped on its way is found, named and copied again, and the source stays until the commit`() async throws {
            try await NetFleet.test { fleet in
                let source = try await written(fleet, GuestRecipe(diskDataMB: 96))
                let migration = try await fleet.move("vm1", "--prefer-host", "host2", "--max-bandwidth-mb", "20")
                try await fleet.reach(.syncingDisk, migration.id) { $0.diskDoneBytes > 8 << 20 }
                // Bytes come from its daemon and go on coming; what they are compared with comes from its agent, and waits.
                try fleet.freeze("host1")
                try await fleet.reach(.syncingDisk, migration.id) { $0.diskDoneBytes > 80 << 20 }
                let partial = try #require(
                    try fleet.files(in: "host2/local/\(source.id)").first { $0.lastPathComponent == "disk0.qcow2.partial" })
                let place: UInt64 = 64 << 20 + 4711
                try flip(partial, at: place)
                // Without workers the two agents end the copy, and nobody commits it.
                for worker in NetFleet.workers { try await fleet.dismiss(worker) }
                try fleet.thaw("host1")
                let names = Set(["disk0.qcow2"])
                try await eventually("all is copied and compared", within: .seconds(60)) {
                    try Set(fleet.files(in: "host2/local/\(source.id)").map(\.lastPathComponent)).subtracting(["owner.json"]) == names
                }
                func stays(_ when: String) async throws {
                    let there = try fleet.files(in: "host1/local/\(source.id)").map(\.lastPathComponent)
                    #expect(there.contains("disk0.qcow2"), "\(when) the source's disk is gone: \(there)")
                    let now = try await fleet.server("vm1")
                    #expect(now.host.name == "host1" && now.status != .ready, "\(when)")
                }
                try await stays("before the source gave it up")
                try fleet.freeze("host1")
                for worker in NetFleet.workers { try await fleet.revive(worker) }
                try await fleet.watch("the copy is known to be whole", migration.id) { $0.state == .switching }
                try await stays("while the source is asked to give it up")
                try fleet.freeze("host2")
                try fleet.thaw("host1")
                try await eventually("the source gives it up", within: .seconds(30)) { try fleet.lenders(on: "host1").isEmpty }
                try await stays("before the target owns it")
                try fleet.thaw("host2")
                try await fleet.arrive(migration.id)
                try await fleet.clean("host1", of: source)
                let told = try await fleet.history(migration.id).compactMap(\.reason).filter { $0.code == .verifyFailed }.map(\.message)
                print("outside: cold, a flipped byte: \(told)")
                let named = "local/disk0.qcow2, at byte \(place / (1 << 20) * (1 << 20)),"
                #expect(told.contains { $0.contains(named) && $0.contains("copied again") }, "\(told)")
                try await proveStarts(fleet, "vm1")
            }
        }

        private func flip(_ file: URL, at place: UInt64) throws {
            let handle = try FileHandle(forUpdating: file)
            defer { try? handle.close() }
            try handle.seek(toOffset: place)
            let byte = try #require(try handle.read(upToCount: 1)?.first)
            try handle.seek(toOffset: place)
            try handle.write(contentsOf: Data([byte ^ 0x40]))
            try handle.synchronize()
        }

        @Test func `encrypted it cannot be read on the wire, and goes to nobody who is not proven`() async throws {
            try await NetFleet.test { fleet in
                let source = try await fleet.createGuest(GuestRecipe(diskDataMB: 24))
                for host in ["host1", "host2"] {
                    try await fleet.disguiseStreams(of: host)
                    let refused = try await fleet.move("vm1", "--prefer-host", "host2", "--enable-tls")
                    let (code, sentence) = try await fleet.lose(refused.id)
                    print("outside: cold, a foreign certificate at \(host): \(code): \(sentence)")
                    #expect(code == "tls-refused", "\(code): \(sentence)")
                    #expect(sentence.contains(host) && sentence.contains("godwit ca-issue"), "\(code): \(sentence)")
                    let now = try await fleet.server("vm1")
                    #expect(now.host.name == "host1" && now.status == .ready && now.migration == nil)
                    try await fleet.clean("host2", of: source)
                    try await fleet.disguiseStreams(of: host, false)
                }
                for options in [["--prefer-host", "host2", "--enable-tls"], ["--prefer-host", "host3"]] {
                    let host = options == ["--prefer-host", "host3"] ? "host2" : "host1"
                    let seen = try await fleet.sniffing(host, for: [Sniffer.diskMarker]) {
                        let migration = try await fleet.move("vm1", options)
                        try await fleet.arrive(migration.id)
                    }
                    let found = seen.found[Sniffer.diskMarker.hex] ?? 0
                    print("outside: cold \(options): \(seen.bytes >> 20) MiB passed, the disk's pattern in \(found) packets")
                    #expect(seen.dropped == 0 && seen.bytes > 20 << 20)
                    #expect((found == 0) == options.contains("--enable-tls"))
                }
                _ = try await fleet.startGuest("vm1")
            }
        }

        @Test func `of shared disks only metadata moves, of mixed ones each by its own nature`() async throws {
            try await NetFleet.test { fleet in
                let shared = try await fleet.createGuest(GuestRecipe(name: "vm2", diskDataMB: 64, disks: ["format=qcow2,storage=shared"]))
                let source = try await written(
                    fleet, GuestRecipe(diskDataMB: 32, disks: ["format=qcow2,storage=shared", "format=qcow2", "format=raw"]))
                let before = try await fleet.sentBytes(by: "host1")
                let first = try await fleet.move("vm2", "--prefer-host", "host2")
                try await fleet.arrive(first.id)
                let sent = try await fleet.sentBytes(by: "host1") - before
                #expect(sent < 4 << 20, "nothing is copied, yet host1 sent \(sent) bytes")
                try await #expect(fleet.history(first.id).allSatisfy { $0.to != .syncingDisk })
                try await #expect(fleet.server("vm2").host.name == "host2")
                try #expect(fleet.disks(of: shared.id, on: "host2").count == 1)

                let second = try await fleet.move("vm1", "--prefer-host", "host2")
                try await fleet.arrive(second.id)
                try #expect(fleet.files(in: "host2/local/\(source.id)").count { $0.lastPathComponent.hasPrefix("disk") } == 2)
                try #expect(fleet.files(in: "shared/\(source.id)").count { $0.lastPathComponent.hasPrefix("disk") } == 1)
                try await fleet.clean("host1", of: source)
                try await proveStarts(fleet, "vm1")
                _ = try await fleet.startGuest("vm2")
            }
        }
    }
}
