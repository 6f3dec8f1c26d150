import Client
import Fleet
import Foundation
import Testing

extension EndToEnd {
    /// What a live migration can be asked for, each by what is seen of it from outside.
    @Suite(.serialized, .netFleet(hosts: 3))
    struct LiveOptionTests {
        @Test(arguments: zip([[], [], ["--multifd", "2"]], [false, true, true]))
        func `with TLS neither memory nor disk can be read on the wire, without it both`(streams: [String], tls: Bool) async throws {
            try await NetFleet.test { fleet in
                // How the pages of the still set begin, behind a dirty set of 16 MiB.
                let memory = (0..<64).map { Sniffer.memoryMarker(page: 4096 + $0) }
                let source = try await fleet.startGuest(GuestRecipe(dirtyMBs: 2, diskDataMB: 24))
                if tls, streams.isEmpty { try await refused(fleet, source, asForeign: "host2", for: "disk disk0") }
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

        /// Asks for an encrypted migration while a host's streams have a certificate of somebody else's authority: nothing is sent, the guest
        /// runs on, and a sentence says what to do.
        private func refused(
            _ fleet: NetFleet, _ source: ServerView, asForeign host: String, for stream: String,
            sourceLocation: SourceLocation = #_sourceLocation
        ) async throws {
            try await fleet.disguiseStreams(of: host)
            let client = try await fleet.observe("vm1")
            let start = Sight.now
            let migration = try await fleet.migrate("vm1", "--prefer-host", "host2", "--enable-tls")
            let (code, sentence) = try await fleet.lose(migration.id)
            print("outside: a foreign certificate at \(host): \(code): \(sentence)")
            for word in ["host1", "host2", stream, "certificate", "godwit ca-issue"] {
                #expect(sentence.contains(word), "\(word) in: \(sentence)", sourceLocation: sourceLocation)
            }
            #expect(code == "tls-refused", sourceLocation: sourceLocation)
            try await fleet.hear(client, further: 20)
            try client.report("a foreign certificate at \(host)", since: start, silenceBelow: .seconds(2), sourceLocation: sourceLocation)
            let now = try await fleet.server("vm1")
            #expect(now.host.name == "host1" && now.status == .running && now.migration == nil, sourceLocation: sourceLocation)
            try await fleet.clean("host2", of: source)
            try await fleet.endObservers()
            try await fleet.disguiseStreams(of: host, false)
        }

        @Test func `a server on the shared storage moves without its disk, and its memory to nobody who is not proven`() async throws {
            try await NetFleet.test { fleet in
                let source = try await fleet.startGuest(
                    GuestRecipe(dirtyMBs: 2, diskDataMB: 200, disks: ["format=qcow2,storage=shared"]))
                try await refused(fleet, source, asForeign: "host1", for: "memory")
                let before = try await fleet.sentBytes(by: "host1")
                let heard = try await fleet.watched("vm1", "live, on shared storage") {
                    let migration = try await fleet.migrate("vm1", "--prefer-host", "host2")
                    let end = try await fleet.arrive(migration.id)
                    try await #expect(fleet.history(migration.id).allSatisfy { $0.to != .syncingDisk })
                    let (sent, memory) = (try await fleet.sentBytes(by: "host1") - before, end.progress?.memoryTransferredBytes ?? 0)
                    #expect(end.progress?.diskDoneBytes == 0 && sent < memory * 110 / 100 + (8 << 20), "memory only: \(sent), \(memory)")
                }
                try #expect(fleet.disks(of: source.id, on: "host1").map(\.path) == fleet.disks(of: source.id, on: "host2").map(\.path))
                try await fleet.proveWhole("vm1", source: source, heard: heard)
            }
        }

        @Test func `several disks, local and shared, each move by their own nature, and a TPM goes along`() async throws {
            try await NetFleet.test { fleet in
                let disks = ["format=qcow2", "format=raw", "format=qcow2,storage=shared"]
                let recipe = GuestRecipe(dirtyMBs: 5, diskDataMB: 24, disks: disks, append: "godwit.tpm=1", options: ["--tpm", "2.0"])
                let source = try await fleet.startGuest(recipe)
                let heard = try await fleet.watched("vm1", "live, several disks and a TPM") {
                    let migration = try await fleet.migrate("vm1", "--prefer-host", "host2")
                    try await fleet.arrive(migration.id)
                    try #expect(fleet.files(in: "host2/local/\(source.id)").count { $0.lastPathComponent.hasPrefix("disk") } == 2)
                    try #expect(fleet.files(in: "shared/\(source.id)").count { $0.lastPathComponent.hasPrefix("disk") } == 1)
                    let there = try await fleet.server("vm1")
                    try await eventually("the TPM is heard of on host2", within: .seconds(30)) {
                        try fleet.console(of: there).contains("GODWIT tpm ")
                    }
                    let lines = try fleet.console(of: there).split(separator: "\n").filter { $0.contains("GODWIT tpm ") }
                    #expect(lines.allSatisfy { $0.contains(" tpmerr=0 ") }, "\(lines.suffix(2))")
                }
                try await fleet.clean("host1", of: source)
                try await fleet.proveWhole("vm1", source: source, heard: heard)
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
                let numbers = try await fleet.history(end.id).last?.numbers ?? [:]
                let brought = numbers["baseBytes"] ?? 0
                // What was brought counts among the disks' bytes.
                let moved = (numbers["diskBytes"] ?? 0) + (numbers["memoryBytes"] ?? 0)
                let sent = try await fleet.sentBytes(by: "host1") - before - calledOff
                print("outside: live, a base of \(brought >> 20) MiB over two deaths: \(sent >> 20) MiB on the wire for \(moved >> 20) MiB")
                #expect(end.attempt == 1 && brought >= 120 << 20 && sent < moved * 105 / 100 + (2 << 20))
                try await fleet.proveWhole("vm1", source: source)
            }
        }

        @Test func `a cdrom unknown to the target is refused by name or ejected, and a suspended guest stays so`() async throws {
            try await NetFleet.test { fleet in
                try fleet.makeFolder("iso")
                let iso = fleet.path("iso/tools.iso")
                try Data(count: 1 << 20).write(to: URL(filePath: iso))
                try await fleet.inside("host2", "mount", "-t", "tmpfs", "none", fleet.path("iso"))
                let source = try await fleet.startGuest(GuestRecipe(dirtyMBs: 2, diskDataMB: 8, options: ["--cdrom", iso]))
                let refused = try await fleet.godwit("server-live-migrate", "vm1", "--prefer-host", "host2", "--wait")
                print("outside: cdrom: \(refused.output)\(refused.error)")
                #expect(refused.status == 1 && (refused.output + refused.error).lowercased().contains("cdrom"))
                let migration = try await fleet.migrate("vm1", "--prefer-host", "host2", "--eject-cdrom")
                try await fleet.arrive(migration.id)
                try await fleet.inside("host2", "umount", fleet.path("iso"))

                try await fleet.command("server-suspend", "vm1")
                let second = try await fleet.migrate("vm1", "--prefer-host", "host3")
                try await fleet.arrive(second.id)
                let there = try await fleet.server("vm1")
                #expect(there.host.name == "host3" && there.status == .suspend)
                try #expect(fleet.console(of: there).contains("GODWIT tick") == false, "it executes nothing")
                try await fleet.command("server-resume", "vm1")
                try await fleet.proveWhole("vm1", source: source)
            }
        }

        @Test func `one budget holds disk and memory together, and another takes effect in flight`() async throws {
            try await NetFleet.test { fleet in
                let source = try await fleet.startGuest(GuestRecipe(dirtyMBs: 1, diskDataMB: 64))
                let begun = ContinuousClock.now
                let before = try await fleet.sentBytes(by: "host1")
                let migration = try await fleet.migrate("vm1", "--prefer-host", "host2", "--max-bandwidth-mb", "20")
                try await fleet.arrive(migration.id)
                let (sent, ms) = (try await fleet.sentBytes(by: "host1") - before, begun.duration(to: .now).milliseconds)
                print("outside: budget 20 MB/s: \(sent / 1_000_000) MB in \(ms) ms, \(sent / ms / 1000) MB/s")
                #expect(sent / ms < 23_000, "over its budget")
                #expect(sent / ms > 8_000, "far under its budget")

                let second = try await fleet.migrate("vm1", "--prefer-host", "host1", "--max-bandwidth-mb", "2")
                try await fleet.reach(.syncingDisk, second.id) { $0.diskDoneBytes > 4 << 20 }
                try await #expect(fleet.server("vm1").status == .liveMigrating)
                try await fleet.command("server-set-live-migrate-params", "vm1", "--max-bandwidth-mb", "60", "--downtime-limit-ms", "400")
                let changed = ContinuousClock.now
                let end = try await fleet.arrive(second.id)
                // 190 MB at 2 MB/s take more than a minute and a half.
                #expect(changed.duration(to: .now) < .seconds(40))
                #expect(end.options.maxBandwidthMB == 60 && end.options.downtimeLimitMS == 400)
                let off = try await fleet.godwit("server-set-live-migrate-params", "vm1", "--max-bandwidth-mb", "60")
                #expect(off.status == 1, "nothing is in flight")
                try await fleet.proveWhole("vm1", source: source)
            }
        }

        @Test func `a guest that dirties too fast ends by the policy, and quickly-finish gets it over`() async throws {
            try await NetFleet.test { fleet in
                let source = try await fleet.startGuest(GuestRecipe(dirtyMBs: 60, dirtySetMB: 48, diskDataMB: 8))
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
                    let told = try await fleet.history(quick.id).compactMap(\.reason)
                    print("outside: quickly finished: \(told.map(\.message))")
                    #expect(told.contains { $0.code == .downtimeLimit }, "\(told)")
                    #expect(told.contains { $0.code == .throttle && $0.message.contains("% of the guest's time") }, "\(told)")
                }
                try await fleet.proveWhole("vm1", source: source, heard: heard)
            }
        }

        @Test func `a target that stalls is given up, kept on demand, listed, and in nobody's way`() async throws {
            try await NetFleet.test { fleet in
                let source = try await fleet.startGuest(GuestRecipe(dirtyMBs: 5, diskDataMB: 16))
                let migration = try await fleet.migrate(
                    "vm1", "--prefer-host", "host2", "--max-bandwidth-mb", "15", "--keep-dest-guest-on-failed", "--stall-timeout", "5s")
                try await fleet.reach(.syncingMemory, migration.id) { $0.memoryTransferredBytes > 4 << 20 }
                let stuck = try #require(try fleet.guests(of: source.id)["host2"])
                kill(stuck, SIGSTOP)
                let (code, sentence) = try await fleet.lose(migration.id)
                print("outside: stalled: \(code): \(sentence)")
                #expect(code == "stalled" && sentence.contains("5"), "\(code): \(sentence)")
                // Hosts are asked what they keep every few seconds.
                try await eventually("it is listed", within: .seconds(20)) {
                    let kept = try await fleet.godwit("kept-list")
                    return kept.status == 0 && kept.output.contains("host2")
                }
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
