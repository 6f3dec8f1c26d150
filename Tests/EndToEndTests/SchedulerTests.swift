import Client
import Fleet
import Foundation
import Testing

extension EndToEnd {
    /// Where a server can go and why not elsewhere, as real agents tell what their hosts are.
    @Suite(.serialized, .netFleet(hosts: 3))
    struct SchedulerTests {
        private func forecast(_ fleet: NetFleet, _ server: String) async throws -> [String: String] {
            let view = try await fleet.decode(ForecastView.self, "server-migrate-forecast", server, "--no-measure")
            var found = Dictionary(uniqueKeysWithValues: view.rejected.map { ($0.host.name, $0.filter) })
            for rejection in view.rejected { #expect(!rejection.wanted.isEmpty && !rejection.found.isEmpty, "\(rejection)") }
            for candidate in view.candidates { found[candidate.host.name] = "fits" }
            return found
        }

        @Test func `every filter names the host that it keeps out, and lets it in again`() async throws {
            try await NetFleet.test { fleet in
                _ = try await fleet.createGuest(GuestRecipe(diskDataMB: 1, disks: ["format=qcow2", "format=qcow2,storage=shared"]))
                _ = try await fleet.createGuest(GuestRecipe(name: "vm2", diskDataMB: 1, host: "host2"))
                try await #expect(forecast(fleet, "vm1") == ["host1": "not-source", "host2": "fits", "host3": "fits"])
                let steps: [(filter: String, on: [String], off: [String])] = [
                    ("enabled", ["host-disable", "host2"], ["host-enable", "host2"]),
                    ("maintenance", ["host-maintenance", "host2", "--no-drain"], ["host-unmaintenance", "host2"]),
                    ("vcpus", ["host-set-overcommit", "host2", "--cpu", "0.01"], ["host-set-overcommit", "host2", "--cpu", "8"]),
                    ("memory", ["host-set-overcommit", "host2", "--memory", "0.01"], ["host-set-overcommit", "host2", "--memory", "1"]),
                    ("inbound", ["host-set-slots", "host2", "--inbound", "0"], ["host-set-slots", "host2", "--inbound", "2"]),
                ]
                for step in steps {
                    try await order(fleet, step.on)
                    let during = try await forecast(fleet, "vm1")
                    try await order(fleet, step.off)
                    #expect(during["host2"] == step.filter && during["host3"] == "fits", "\(step.filter): \(during)")
                }
                for (policy, host) in [("apart", "host2"), ("together", "host3")] {
                    try await order(fleet, ["server-group-create", policy, "--policy", policy])
                    for server in ["vm1", "vm2"] { try await order(fleet, ["server-group-add-server", policy, server]) }
                    let during = try await forecast(fleet, "vm1")
                    try await order(fleet, ["server-group-delete", policy])
                    #expect(during[host] == "group" && during.values.count { $0 == "fits" } == 1, "\(policy): \(during)")
                }
                try await #expect(forecast(fleet, "vm1") == ["host1": "not-source", "host2": "fits", "host3": "fits"])
            }
        }

        private func order(_ fleet: NetFleet, _ arguments: [String]) async throws {
            let answer = try await fleet.godwit(arguments)
            #expect(answer.status == 0, "\(arguments): \(answer.error)")
        }

        @Test func `a host without the network or the storage is kept out, and a disk that is too large by its room`() async throws {
            try await NetFleet.test { fleet in
                let file = fleet.work.appending(path: "host3/agent.yaml")
                let before = try String(contentsOf: file, encoding: .utf8)
                _ = try await fleet.createGuest(GuestRecipe(diskDataMB: 1))
                _ = try await fleet.createGuest(GuestRecipe(name: "vm2", diskDataMB: 1, disks: ["format=qcow2,storage=shared"]))
                let huge = try await fleet.godwit(
                    "server-create", "vm3", "--memory-mb", "64", "--disk", "size=60T", "--prefer-host", "host1")
                print("outside: a disk of 60 TiB: exit \(huge.status): \(huge.error)")
                #expect(huge.status == 1 && huge.error.contains("host1 has not the room"), "\(huge.error)")
                func change(_ text: String) async throws {
                    try Data(text.utf8).write(to: file)
                    try await fleet.slay("host3")
                    try await fleet.revive("host3")
                }
                try await change(before.replacing("  - {name: lan, kind: bridge, bridge: lan}", with: "  []"))
                try await eventually("host3 has no network", within: .seconds(60)) {
                    try await forecast(fleet, "vm1")["host3"] == "network"
                }
                try await change(before.split(separator: "\n").filter { !$0.contains("name: shared") }.joined(separator: "\n"))
                try await eventually("host3 has no shared storage", within: .seconds(60)) {
                    try await forecast(fleet, "vm2")["host3"] == "storage"
                }
                try await #expect(forecast(fleet, "vm1")["host3"] == "fits")
                try await change(before)
            }
        }

        @Test func `the checks of CPU and kernel hold, and each can be waived`() async throws {
            try await NetFleet.test { fleet in
                let text = try String(contentsOfFile: "/proc/cpuinfo", encoding: .utf8)
                try await fleet.pretend(
                    "host3", "/proc/cpuinfo", text.replacing(try Regex("(?m)^microcode.*$"), with: "microcode\t: 0xfffffffe"))
                try await fleet.slay("host3")
                // Its kernel calls itself 2.6 to whatever runs under this personality.
                try await fleet.startAgent("host3", through: ["setarch", "--uname-2.6"])
                try await fleet.online(["host3"])
                let source = try await fleet.startGuest(GuestRecipe(dirtyMBs: 5, diskDataMB: 16))
                let client = try await fleet.observe("vm1")
                let start = Sight.now
                try await eventually("host3 is known as it is", within: .seconds(60)) {
                    try await refusal(fleet)?.contains("microcode") == true
                }
                let kernel = try await refusal(fleet, "--skip-cpu-check")
                #expect(kernel?.contains("kernel") == true && kernel?.contains("microcode") == false, "\(kernel ?? "moved")")
                let features = try await refusal(fleet, "--cpu-check", "features")
                #expect(features?.contains("kernel") == true && features?.contains("microcode") == false, "\(features ?? "moved")")
                let moves: [[String]] = [
                    ["--prefer-host", "host3", "--skip-cpu-check", "--skip-kernel-check"],
                    ["--prefer-host", "host1", "--cpu-check", "features", "--skip-kernel-check"],
                    ["--prefer-host", "host2", "--quickly-finish"],
                    ["--prefer-host", "host3", "--max-downtime-ms", "1500", "--skip-cpu-check", "--skip-kernel-check"],
                ]
                for options in moves {
                    let migration = try await fleet.migrate("vm1", options)
                    let end = try await fleet.arrive(migration.id)
                    #expect(end.targetHost?.name == options[1], "\(options)")
                }
                try await fleet.hear(client, further: 100)
                try client.report("four moves with checks waived", since: start, silenceBelow: .seconds(4))
                try await fleet.proveWhole("vm1", source: source, heard: client.sight().acknowledged)
                try await fleet.pretendNoMore("host3", "/proc/cpuinfo")
                try await fleet.slay("host3")
                try await fleet.revive("host3")
            }
        }

        @Test func `a host of another make is kept out by what it lacks, and a host that is away by that`() async throws {
            try await NetFleet.test { fleet in
                let file = fleet.work.appending(path: "host3/agent.yaml")
                let before = try String(contentsOf: file, encoding: .utf8)
                // A QEMU that offers no guest SVM, which the usual model of a CPU has.
                let lacking = fleet.work.appending(path: "host3/qemu-without-svm")
                try Data("#!/bin/sh\nexec qemu-system-x86_64 -global max-x86_64-cpu.svm=off \"$@\"\n".utf8).write(to: lacking)
                try FileManager.default.setAttributes([.posixPermissions: 0o755], ofItemAtPath: lacking.path)
                try Data((before + "qemu: \(lacking.path)\nfirmwareDirectory: /nonexistent\nswtpm: /nonexistent/swtpm\n").utf8).write(
                    to: file)
                try await fleet.slay("host3")
                try await fleet.revive("host3")
                for (name, options) in [("vm2", ["--firmware", "uefi"]), ("vm3", ["--tpm", "2.0"])] {
                    try await order(
                        fleet, ["server-create", name, "--memory-mb", "64", "--disk", "size=64M", "--prefer-host", "host1"] + options)
                }
                try await eventually("host3 has no firmware", within: .seconds(60)) {
                    try await forecast(fleet, "vm2")["host3"] == "firmware"
                }
                try await #expect(forecast(fleet, "vm3")["host3"] == "tpm")
                try await #expect(forecast(fleet, "vm2")["host2"] == "fits")

                _ = try await fleet.startGuest(GuestRecipe(diskDataMB: 1))
                let features = try await refusal(fleet, "--cpu-check", "features")
                #expect(features?.contains("cpu-features") == true && features?.contains("svm") == true, "\(features ?? "moved")")
                try await order(fleet, ["host-set-slots", "host1", "--outbound", "0"])
                let none = try await forecast(fleet, "vm2")
                #expect(none["host2"] == "outbound" && none["host3"] == "firmware", "\(none)")
                try await order(fleet, ["host-set-slots", "host1", "--outbound", "2"])

                try Data(before.utf8).write(to: file)
                try await fleet.slay("host3")
                try await eventually("host3 is away", within: .seconds(60)) { try await forecast(fleet, "vm2")["host3"] == "online" }
                // Its machine calls itself i686 to whatever runs under this personality.
                try await fleet.startAgent("host3", through: ["setarch", "i686"])
                try await eventually("host3 is of another architecture", within: .seconds(60)) {
                    try await forecast(fleet, "vm2")["host3"] == "architecture"
                }
                try await fleet.slay("host3")
                try await fleet.revive("host3")
            }
        }

        /// What a live migration to host3 is refused with; nil when it went there.
        private func refusal(_ fleet: NetFleet, _ options: String...) async throws -> String? {
            let answer = try await fleet.godwit(["server-live-migrate", "vm1", "--prefer-host", "host3", "--wait"] + options)
            return answer.status == 0 ? nil : answer.output + answer.error
        }
    }
}
