import Client
import Fleet
import Foundation
import Testing

extension EndToEnd {
    /// What runs out or breaks beside Godwit: each gives its reason, and everything goes on when it is over.
    @Suite(.serialized, .netFleet(hosts: 2))
    struct ResourceFaultTests {
        private func inControl(_ fleet: NetFleet, _ script: String, deadline: Duration = .seconds(60)) async throws -> String {
            let answer = try await execute(fleet.control.command() + ["sh", "-ec", script], deadline: deadline)
            guard answer.status == 0 else { throw Failure("\(script): \(answer.output)\(answer.error)") }
            return answer.output
        }

        @Test func `the target is short of memory`() async throws {
            try await NetFleet.test { fleet in
                let source = try await fleet.startGuest(GuestRecipe(diskDataMB: 1))
                let lines = try String(contentsOfFile: "/proc/meminfo", encoding: .utf8).split(separator: "\n").map { line in
                    line.hasPrefix("MemAvailable:") ? "MemAvailable:      65536 kB" : String(line)
                }
                try await fleet.pretend("host2", "/proc/meminfo", lines.joined(separator: "\n") + "\n")
                let migration = try await fleet.migrate("vm1", "--prefer-host", "host2")
                let (code, sentence) = try await fleet.lose(migration.id)
                print("outside: memory short: \(code): \(sentence)")
                #expect(code == "memory-short" && sentence.contains("host2") && sentence.contains("mib"))
                let now = try await fleet.server("vm1")
                #expect(now.status == .running && now.host.name == "host1")
                try await fleet.pretendNoMore("host2", "/proc/meminfo")
                try await fleet.arrive(try await fleet.migrate("vm1", "--prefer-host", "host2").id)
                try await fleet.proveWhole("vm1", source: source)
            }
        }

        @Test func `the store's disk is full`() async throws {
            try await NetFleet.test { fleet in
                // PostgreSQL's disk is its own server's.
                guard fleet.store.location.hasSuffix(".sqlite") else { return }
                let source = try await fleet.startGuest(GuestRecipe(dirtyMBs: 2, diskDataMB: 120))
                let folder = fleet.path("control")
                let daemons = ["controller"] + NetFleet.workers
                func moved(_ script: String) async throws {
                    for daemon in daemons { try await fleet.dismiss(daemon) }
                    _ = try await inControl(fleet, script)
                    for daemon in daemons { try await fleet.revive(daemon) }
                    try await fleet.online(["host1", "host2"])
                }
                // All that the controller and workers have, on a file system of its own.
                try await moved(
                    "cp -a \(folder) \(folder).kept; mount -t tmpfs -o size=64M store \(folder); cp -a \(folder).kept/. \(folder)/")
                do {
                    let migration = try await fleet.migrate("vm1", "--prefer-host", "host2", "--max-bandwidth-mb", "8")
                    try await fleet.reach(.syncingDisk, migration.id) { $0.diskDoneBytes > 8 << 20 }
                    _ = try await inControl(fleet, "dd if=/dev/zero of=\(folder)/filler bs=4K 2>/dev/null || true")
                    var refusal = Answer(status: 0, output: "", error: "")
                    try await eventually("a write is refused", within: .seconds(30)) {
                        refusal = try await fleet.godwit(
                            "server-group-create", "g\(UInt32.random(in: 0...UInt32.max))", "--policy", "apart")
                        return refusal.status != 0
                    }
                    print("outside: store full: \(refusal.error)")
                    #expect(refusal.error.contains("look at the space"), "it says why: \(refusal.error)")
                    try await #expect(fleet.godwit("server-list").status == 0, "what is read is read")
                    // Longer than a lease: everybody must have tried to write.
                    try await pause(.seconds(18))
                    try #expect(fleet.guests(of: source.id)["host1"] != nil)
                    _ = try await inControl(fleet, "rm \(folder)/filler")
                    let end = try await fleet.arrive(migration.id)
                    #expect(end.attempt == 1, "it went on where it was")
                    for daemon in daemons { try #expect(!fleet.pids(of: daemon).isEmpty, "\(daemon) lives on") }
                    try await fleet.proveWhole("vm1", source: source)
                } catch {
                    _ = try? await inControl(fleet, "rm -f \(folder)/filler; umount -l \(folder)")
                    throw error
                }
                try await moved(
                    "cp -a \(folder)/. \(folder).kept/; umount \(folder); cp -a \(folder).kept/. \(folder)/; rm -r \(folder).kept")
            }
        }
    }
}
