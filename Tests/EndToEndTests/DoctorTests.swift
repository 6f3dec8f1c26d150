import Client
import Fleet
import Foundation
import Testing

extension EndToEnd {
    /// `godwit doctor` against what is really wrong.
    @Suite(.serialized, .netFleet(hosts: 2))
    struct DoctorTests {
        private func examine(_ fleet: NetFleet, _ options: String...) async throws -> (found: DiagnosisView, status: Int32) {
            let answer = try await fleet.godwit(["doctor"] + options + ["--output", "json"])
            do {
                return (try JSONDecoder().decode(DiagnosisView.self, from: Data(answer.output.utf8)), answer.status)
            } catch {
                throw Failure("doctor exited with \(answer.status): \(answer.output)\(answer.error)")
            }
        }

        private func clean(_ fleet: NetFleet, _ what: String) async throws {
            let (found, status) = try await examine(fleet)
            #expect(found.findings.isEmpty && status == 0, "\(what): \(found.findings)")
        }

        /// Gives an agent an order that no controller has given.
        private func order(_ fleet: NetFleet, _ host: String, _ method: String, _ path: String, _ body: String) async throws {
            let worker = fleet.path("control/worker-w1")
            let answer = try await execute(
                fleet.control.command() + [
                    "curl", "-sS", "--fail-with-body", "-X", method, "--cacert", fleet.path("ca/ca.pem"), "--cert", "\(worker).pem",
                    "--key",
                    "\(worker)-key.pem", "-H", "content-type: application/json", "-d", body,
                    "https://\(fleet.address(of: host)):\(NetFleet.agentPort)\(path)",
                ])
            guard answer.status == 0 else { throw Failure("\(method) \(path): \(answer.output)\(answer.error)") }
        }

        @Test func `what is wrong is found with its remedy, what is mended stays mended, and a whole fleet has no findings`() async throws {
            try await NetFleet.test { fleet in
                let source = try await fleet.startGuest(GuestRecipe(diskDataMB: 1))
                try await clean(fleet, "one server")
                let moved = try await fleet.migrate("vm1", "--prefer-host", "host2")
                try await fleet.arrive(moved.id)
                try await fleet.clean("host1", of: source)
                try await clean(fleet, "after a migration")

                // A file that nobody knows; a folder of a server that is whole elsewhere; a guest that no store knows.
                let stray = fleet.path("host2/local/stray.qcow2")
                try await succeed("qemu-img", "create", "-f", "qcow2", stray, "16M")
                let leftover = fleet.path("host1/local/\(source.id)")
                try FileManager.default.createDirectory(atPath: leftover, withIntermediateDirectories: true)
                try Data(count: 4096).write(to: URL(filePath: "\(leftover)/disk0.qcow2"))
                let description = GuestDescription(
                    server: "stranger", name: "stranger", vcpus: 1, memoryBytes: 64 << 20, cpuModel: "qemu64", machine: "pc",
                    accelerator: .auto,
                    firmware: .bios, boot: nil,
                    disks: [GuestDescription.Disk(name: "disk0", sizeBytes: 16 << 20, format: .qcow2, bus: .virtioBlk, storage: "local")],
                    cdrom: nil,
                    nics: [])
                let text = String(decoding: try JSONEncoder().encode(description), as: UTF8.self)
                try await order(
                    fleet, "host1", "PUT", "/v1/guests/stranger", #"{"epoch":1,"description":\#(text),"images":{},"bases":{}}"#)
                try await order(fleet, "host1", "POST", "/v1/guests/stranger/start", #"{"epoch":1}"#)
                // And QEMU is killed behind the agent's back.
                let pid = try #require(try fleet.guests(of: source.id)["host2"])
                kill(pid, SIGKILL)
                try await eventually("the watch over hosts has seen it", within: .seconds(30)) {
                    try await fleet.server("vm1").status == .ready
                }

                let (found, status) = try await examine(fleet)
                print("outside: doctor:\n\(try await fleet.godwit("doctor").output)")
                #expect(status == 1)
                #expect(found.hosts == 2 && found.servers == 1)
                func finding(_ kind: String, _ host: String, in diagnosis: DiagnosisView) -> FindingView? {
                    diagnosis.findings.first { $0.kind == kind && $0.host?.name == host }
                }
                let unknown = try #require(finding("guest-unknown", "host1", in: found))
                #expect(unknown.severity == "critical" && !unknown.isFixable && unknown.server?.id == "stranger")
                let lost = try #require(finding("server-without-guest", "host2", in: found))
                #expect(lost.remedy.contains("godwit server-start vm1"))
                let file = try #require(finding("leftover-disk", "host2", in: found))
                #expect(file.subject == stray && !file.isFixable)
                let folder = try #require(finding("leftover-disk", "host1", in: found))
                #expect(folder.subject == leftover && folder.isFixable)
                #expect(found.findings.count == 4, "\(found.findings.map(\.message))")
                #expect(FileManager.default.fileExists(atPath: leftover), "looking changes nothing")

                let (mended, _) = try await examine(fleet, "--fix")
                #expect(mended.findings.filter(\.isFixed).map(\.subject) == [leftover])
                #expect(!FileManager.default.fileExists(atPath: leftover))
                #expect(FileManager.default.fileExists(atPath: stray), "nobody's word stands for that one")
                #expect(try fleet.guests(of: "stranger")["host1"] != nil, "no guest is ended")
                let told = try await fleet.history(moved.id).last
                #expect(told?.reason?.code == .cleanupOrdered && told?.step == "doctor", "\(String(describing: told))")
                let (rest, stillLeft) = try await examine(fleet)
                #expect(rest.findings.count == 3 && rest.findings.allSatisfy { !$0.isFixable } && stillLeft == 1)

                // What the remedies say.
                try FileManager.default.removeItem(atPath: stray)
                try await order(fleet, "host1", "POST", "/v1/guests/stranger/stop", #"{"epoch":2,"graceMS":0}"#)
                try await order(fleet, "host1", "POST", "/v1/guests/stranger/delete", #"{"epoch":2}"#)
                try await fleet.command("server-start", "vm1")
                try await clean(fleet, "after the remedies")

                // A host that is away.
                try await fleet.cut("host2")
                try await eventually("host2 counts as away", within: .seconds(30)) {
                    try await fleet.hosts().contains { $0.name == "host2" && $0.status == .offline }
                }
                let (away, _) = try await examine(fleet)
                #expect(away.findings.map(\.kind) == ["host-silent"])
                #expect(away.findings.first?.severity == "critical", "a running server is on it")
                try await fleet.cut("host2", false)
                try await fleet.online(["host2"])
                try await clean(fleet, "with the host back")
            }
        }

        @Test func `while servers migrate nothing is found`() async throws {
            try await NetFleet.test { fleet in
                _ = try await fleet.startGuest(GuestRecipe(diskDataMB: 64))
                let migration = try await fleet.migrate("vm1", "--prefer-host", "host2", "--max-bandwidth-mb", "12")
                try await fleet.reach(.syncingDisk, migration.id) { $0.diskDoneBytes > 1 << 20 }
                while try await !fleet.migration(migration.id).state.isFinished { try await clean(fleet, "under way") }
                try await fleet.arrive(migration.id)
            }
        }
    }
}
