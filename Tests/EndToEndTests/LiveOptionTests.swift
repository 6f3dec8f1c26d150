import Client
import Fleet
import Foundation
import Testing

extension EndToEnd {
    /// What a live migration can be asked for, each by what is seen of it from outside.
    @Suite(.serialized, .netFleet(hosts: 3))
    struct LiveOptionTests {
        /// A live migration of a small guest with some options, watched, ended well, and proven.
        private func moves(
            _ fleet: NetFleet, _ recipe: GuestRecipe, _ options: [String],
            sourceLocation: SourceLocation = #_sourceLocation, _ look: (MigrationView, ServerView) async throws -> Void = { _, _ in }
        ) async throws {
            let source = try await fleet.startGuest(recipe)
            let heard = try await fleet.watched("vm1", "live \(options.joined(separator: " "))", sourceLocation: sourceLocation) {
                let migration = try await fleet.migrate("vm1", ["--prefer-host", "host2"] + options)
                let end = try await fleet.arrive(migration.id, sourceLocation: sourceLocation)
                try await look(end, source)
            }
            try await fleet.clean("host1", of: source)
            try await fleet.proveWhole("vm1", source: source, heard: heard)
        }

        @Test(arguments: zip([[], [], ["--multifd", "2"]], [false, true, true]))
        func `with TLS neither memory nor disk can be read on the wire, without it both`(streams: [String], tls: Bool) async throws {
            try await NetFleet.test { fleet in
                // How the pages of the still set begin, behind a dirty set of 16 MiB.
                let memory = (0..<64).map { Sniffer.memoryMarker(page: 4096 + $0) }
                let source = try await fleet.startGuest(GuestRecipe(dirtyMBs: 2, diskDataMB: 24))
                let seen = try await fleet.sniffing("host1", for: [Sniffer.diskMarker] + memory) {
                    let migration = try await fleet.migrate(
                        "vm1", ["--prefer-host", "host2"] + streams + (tls ? ["--enable-tls"] : []))
                    try await fleet.arrive(migration.id)
                }
                #expect(
                    seen.dropped == 0 && seen.bytes > 40 << 20, "the streams passed here: \(seen.bytes), \(seen.dropped) packets unseen")
                let disk = seen.found[Sniffer.diskMarker.hex] ?? 0
                let pages = memory.count { seen.found[$0.hex] ?? 0 > 0 }
                print("outside: TLS \(tls): \(seen.bytes >> 20) MiB passed, disk pattern in \(disk) packets, \(pages) of 64 of memory")
                if tls {
                    #expect(disk == 0 && pages == 0)
                } else {
                    #expect(disk > 0 && pages > 0, "the sniffer sees what is not encrypted")
                }
                try await fleet.proveWhole("vm1", source: source)
            }
        }

        @Test func `a server on the shared storage moves without its disk`() async throws {
            try await NetFleet.test { fleet in
                let before = try await fleet.sentBytes(by: "host1")
                try await moves(fleet, GuestRecipe(dirtyMBs: 2, diskDataMB: 200, disks: ["format=qcow2,storage=shared"]), []) {
                    end, source in
                    let sent = try await fleet.sentBytes(by: "host1") - before
                    #expect(sent < 150 << 20, "memory only: \(sent)")
                    try await #expect(fleet.history(end.id).allSatisfy { $0.to != .syncingDisk })
                    try #expect(fleet.disks(of: source.id, on: "host1").map(\.path) == fleet.disks(of: source.id, on: "host2").map(\.path))
                }
            }
        }

        @Test func `several disks, local and shared, each move by their own nature`() async throws {
            try await NetFleet.test { fleet in
                let disks = ["format=qcow2", "format=raw", "format=qcow2,storage=shared"]
                try await moves(fleet, GuestRecipe(dirtyMBs: 5, diskDataMB: 24, disks: disks), []) { _, source in
                    try #expect(fleet.files(in: "host2/local/\(source.id)").count { $0.lastPathComponent.hasPrefix("disk") } == 2)
                    try #expect(fleet.files(in: "shared/\(source.id)").count { $0.lastPathComponent.hasPrefix("disk") } == 1)
                }
            }
        }

        @Test func `a base image that the target lacks is brought first, once`() async throws {
            try await NetFleet.test { fleet in
                let image = fleet.work.appending(path: "golden.img")
                try fleet.makeImage(image, dataMB: 60)
                defer { try? FileManager.default.removeItem(at: image) }
                for (name, floor, ceiling) in [("vm1", Int64(100), Int64(300)), ("vm2", 20, 110)] {
                    let source = try await fleet.startGuest(GuestRecipe(name: name, dirtyMBs: 2, disks: ["base=\(image.path)"]))
                    let before = try await fleet.sentBytes(by: "host1")
                    let migration = try await fleet.migrate(name, "--prefer-host", "host2")
                    let end = try await fleet.arrive(migration.id)
                    let sent = (try await fleet.sentBytes(by: "host1") - before) >> 20
                    let history = try await fleet.history(end.id)
                    let brought = history.filter { $0.reason?.code == "base-brought" }
                    let bytes = history.last?.numbers["baseBytes"] ?? 0
                    print("outside: live, \(name) on a base of 60 MiB: \(sent) MiB on the wire, \(bytes >> 20) MiB of them a base")
                    #expect(sent > floor && sent < ceiling)
                    #expect(name == "vm1" ? brought.count == 1 && bytes >= 60 << 20 : brought.isEmpty && bytes == 0)
                    try await fleet.proveWhole(name, source: source)
                    // It goes with the last server on it.
                    try await fleet.clean("host1", of: source)
                    try await eventually("host1 has no base image any more", within: .seconds(20)) {
                        try fleet.files(in: "host1/local/.base").isEmpty
                    }
                }
                try #expect(fleet.files(in: "host2/local/.base").count == 1)
            }
        }

        @Test func `a base image that is on its way is called off without a trace, and outlives the agents and workers that bring it`()
            async throws
        {
            try await NetFleet.test { fleet in
                let image = fleet.work.appending(path: "golden.img")
                try fleet.makeImage(image, dataMB: 120)
                defer { try? FileManager.default.removeItem(at: image) }
                let source = try await fleet.startGuest(GuestRecipe(dirtyMBs: 2, disks: ["base=\(image.path)"]))
                let before = try await fleet.sentBytes(by: "host1")
                let first = try await fleet.migrate("vm1", "--prefer-host", "host2", "--max-bandwidth-mb", "15")
                try await fleet.reach(.syncingDisk, first.id) { $0.diskDoneBytes > 10 << 20 }
                try await fleet.command("server-cancel-live-migrate", "vm1")
                let (code, _) = try await fleet.lose(first.id)
                #expect(code == "cancelled")
                try await fleet.clean("host2", of: source)
                try #expect(fleet.files(in: "host2/local/.base").isEmpty)
                let calledOff = try await fleet.sentBytes(by: "host1") - before

                let second = try await fleet.migrate("vm1", "--prefer-host", "host2", "--max-bandwidth-mb", "15")
                try await fleet.reach(.syncingDisk, second.id) { $0.diskDoneBytes > 20 << 20 }
                try await fleet.slay("host2")
                try await fleet.revive("host2")
                try await fleet.reach(.syncingDisk, second.id) { $0.diskDoneBytes > 50 << 20 }
                for worker in NetFleet.workers { try await fleet.slay(worker) }
                for worker in NetFleet.workers { try await fleet.revive(worker) }
                let end = try await fleet.arrive(second.id)
                let brought = try await fleet.history(end.id).last?.numbers["baseBytes"] ?? 0
                let sent = try await fleet.sentBytes(by: "host1") - before - calledOff
                print("outside: live, a base of \(brought >> 20) MiB over two deaths: \(sent >> 20) MiB on the wire")
                #expect(end.attempt == 1 && brought >= 120 << 20 && sent < brought + 120 << 20)
                try await fleet.proveWhole("vm1", source: source)
            }
        }

        @Test func `a suspended server moves, arrives suspended, and goes on when resumed`() async throws {
            try await NetFleet.test { fleet in
                let source = try await fleet.startGuest(GuestRecipe(dirtyMBs: 2, diskDataMB: 16))
                let suspended = try await fleet.godwit("server-suspend", "vm1")
                #expect(suspended.status == 0, "\(suspended.error)")
                let migration = try await fleet.migrate("vm1", "--prefer-host", "host2")
                try await fleet.arrive(migration.id)
                let there = try await fleet.server("vm1")
                #expect(there.host.name == "host2" && there.status == .suspend)
                try #expect(fleet.console(of: there).contains("GODWIT tick") == false, "it executes nothing")
                let resumed = try await fleet.godwit("server-resume", "vm1")
                #expect(resumed.status == 0, "\(resumed.error)")
                try await fleet.proveWhole("vm1", source: source)
            }
        }

        @Test func `a TPM goes along`() async throws {
            try await NetFleet.test { fleet in
                let recipe = GuestRecipe(
                    dirtyMBs: 2, diskDataMB: 8, append: "godwit.tpm=1", options: ["--tpm", "2.0"])
                try await moves(fleet, recipe, []) { _, _ in
                    let there = try await fleet.server("vm1")
                    try await eventually("the TPM is heard of on host2", within: .seconds(30)) {
                        try fleet.console(of: there).contains("GODWIT tpm ")
                    }
                    let lines = try fleet.console(of: there).split(separator: "\n").filter { $0.contains("GODWIT tpm ") }
                    #expect(lines.allSatisfy { $0.contains(" tpmerr=0 ") }, "\(lines.suffix(2))")
                }
            }
        }

        @Test func `a cdrom that the target does not see is refused by name, and ejected on demand`() async throws {
            try await NetFleet.test { fleet in
                try fleet.makeFolder("iso")
                let iso = fleet.path("iso/tools.iso")
                try Data(count: 1 << 20).write(to: URL(filePath: iso))
                let inside = try fleet.host("host2").command()
                try await #expect(execute(inside + ["mount", "-t", "tmpfs", "none", fleet.path("iso")]).status == 0)
                let source = try await fleet.startGuest(GuestRecipe(dirtyMBs: 2, diskDataMB: 8, options: ["--cdrom", iso]))
                let refused = try await fleet.godwit("server-live-migrate", "vm1", "--prefer-host", "host2", "--wait")
                print("outside: cdrom: \(refused.output)\(refused.error)")
                #expect(refused.status == 1 && (refused.output + refused.error).lowercased().contains("cdrom"))
                let migration = try await fleet.migrate("vm1", "--prefer-host", "host2", "--eject-cdrom")
                try await fleet.arrive(migration.id)
                try await #expect(execute(inside + ["umount", fleet.path("iso")]).status == 0)
                try await fleet.proveWhole("vm1", source: source)
            }
        }

        @Test func `one budget holds disk and memory together`() async throws {
            try await NetFleet.test { fleet in
                _ = try await fleet.startGuest(GuestRecipe(memoryMB: 192, dirtyMBs: 1, diskDataMB: 96))
                let begun = ContinuousClock.now
                let before = try await fleet.sentBytes(by: "host1")
                let migration = try await fleet.migrate("vm1", "--prefer-host", "host2", "--max-bandwidth-mb", "20")
                try await fleet.arrive(migration.id)
                let (sent, seconds) = (try await fleet.sentBytes(by: "host1") - before, begun.duration(to: .now).milliseconds)
                print("outside: budget 20 MB/s: \(sent / 1_000_000) MB in \(seconds) ms, \(sent / seconds / 1000) MB/s")
                #expect(sent / seconds < 23_000, "over its budget")
                #expect(sent / seconds > 8_000, "far under its budget")
            }
        }

        @Test func `parameters set in flight take effect on disk and memory`() async throws {
            try await NetFleet.test { fleet in
                let source = try await fleet.startGuest(GuestRecipe(memoryMB: 192, dirtyMBs: 1, diskDataMB: 200))
                let migration = try await fleet.migrate("vm1", "--prefer-host", "host2", "--max-bandwidth-mb", "5")
                try await fleet.reach(.syncingDisk, migration.id) { $0.diskDoneBytes > 10 << 20 }
                let set = try await fleet.godwit(
                    "server-set-live-migrate-params", "vm1", "--max-bandwidth-mb", "60", "--downtime-limit-ms", "400")
                #expect(set.status == 0, "\(set.error)")
                let begun = ContinuousClock.now
                let end = try await fleet.arrive(migration.id)
                // 320 MB at 5 MB/s take more than a minute.
                #expect(begun.duration(to: .now) < .seconds(40))
                #expect(end.options.maxBandwidthMB == 60 && end.options.downtimeLimitMS == 400)
                let off = try await fleet.godwit("server-set-live-migrate-params", "vm1", "--max-bandwidth-mb", "60")
                #expect(off.status == 1, "nothing is in flight")
                try await fleet.proveWhole("vm1", source: source)
            }
        }

        @Test(arguments: [
            ["--quickly-finish"], ["--max-downtime-ms", "1500"], ["--skip-cpu-check", "--skip-kernel-check"], ["--cpu-check", "features"],
        ])
        func `options that leave the guest whole`(options: [String]) async throws {
            try await NetFleet.test { fleet in try await moves(fleet, GuestRecipe(dirtyMBs: 5, diskDataMB: 24), options) }
        }

        @Test func `a guest that dirties too fast ends by the policy, and quickly-finish gets it over`() async throws {
            try await NetFleet.test { fleet in
                let source = try await fleet.startGuest(GuestRecipe(memoryMB: 192, dirtyMBs: 60, dirtySetMB: 48, diskDataMB: 8))
                let heard = try await fleet.watched("vm1", "live, not converging", silenceBelow: .seconds(10)) {
                    let hopeless = try await fleet.migrate(
                        "vm1", "--prefer-host", "host2", "--max-bandwidth-mb", "20", "--no-auto-converge", "--timeout", "25s")
                    let (code, sentence) = try await fleet.lose(hopeless.id)
                    print("outside: not converging: \(code): \(sentence)")
                    #expect(["did-not-converge", "timed-out"].contains(code), "\(code)")
                    try await #expect(fleet.server("vm1").host.name == "host1")
                    try await fleet.clean("host2", of: source)
                    let quick = try await fleet.migrate(
                        "vm1", "--prefer-host", "host2", "--max-bandwidth-mb", "40", "--quickly-finish", "--max-downtime-ms", "4000")
                    try await fleet.arrive(quick.id)
                    let steps = try await fleet.history(quick.id).compactMap { $0.reason?.message ?? $0.step }
                    #expect(steps.contains { $0.lowercased().contains("downtime") || $0.lowercased().contains("limit") }, "\(steps)")
                }
                try await fleet.proveWhole("vm1", source: source, heard: heard)
            }
        }

        @Test func `a failed target is kept on demand, listed, and in nobody's way`() async throws {
            try await NetFleet.test { fleet in
                let source = try await fleet.startGuest(GuestRecipe(memoryMB: 192, dirtyMBs: 5, diskDataMB: 16))
                let migration = try await fleet.migrate(
                    "vm1", "--prefer-host", "host2", "--max-bandwidth-mb", "5", "--keep-dest-guest-on-failed", "--timeout", "15s")
                _ = try await fleet.lose(migration.id)
                let kept = try await fleet.godwit("kept-list")
                #expect(kept.status == 0 && kept.output.contains("host2"), "\(kept.output)\(kept.error)")
                let second = try await fleet.migrate("vm1", "--prefer-host", "host2")
                try await fleet.arrive(second.id)
                try await fleet.proveWhole("vm1", source: source)
            }
        }
    }
}

extension Data {
    var hex: String { map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined() }
}
