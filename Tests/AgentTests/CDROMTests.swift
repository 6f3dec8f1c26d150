import AgentAPI
import Fleet
import Foundation
import Testing

@testable import Agent
@testable import Hypervisor

/// A medium in the cdrom of a guest that moves.
@Suite(.serialized, .timeLimit(.minutes(5)))
struct CDROMTests {
    private func description(_ medium: String, machine: String = "pc") -> GuestDescription {
        var guest = TestGuest.description(.unique(), machine: machine, parameters: "godwit.cdrom=1")
        guest.cdrom = medium
        return guest
    }

    /// The size of the medium as the guest sees it.
    private func seen(_ console: String) -> Bool {
        ((try? String(contentsOfFile: console, encoding: .utf8)) ?? "").contains("name=sr0")
    }

    private func medium(_ host: TestHost, bytes: Int = 1 << 20) throws -> String {
        let path = "\((host.folder as NSString).deletingLastPathComponent)/medium.iso"
        try Data(repeating: 7, count: bytes).write(to: URL(fileURLWithPath: path))
        return path
    }

    @Test func `moves with its medium where the target has the same, and is refused by path where it has not`() async throws {
        try await withHosts("a", "b") { hosts in
            let path = try medium(hosts[0])
            let description = description(path)
            let server = description.server
            let report = try await boot(description, on: hosts[0])
            let bytes = try #require(try await hosts[0].orders.guest(server).cdromBytes)
            #expect(bytes == 1 << 20)
            let mover = Mover(server, from: hosts[0], to: hosts[1])
            func prepare(_ bytes: Int64?, attempt: Int) async throws -> IncomingReport {
                try await hosts[1].orders.prepare(
                    server,
                    PrepareOrder(
                        epoch: mover.epoch, key: AttemptKey(migration: mover.key.migration, attempt: attempt),
                        description: report.description,
                        source: "a", cdromBytes: bytes))
            }
            // Another one under the same path: told by its size.
            let other = try await refusal { _ = try await prepare(bytes + 2048, attempt: 2) }
            #expect(other?.kind == .invalid)
            #expect(other?.reason.message.contains(path) == true && other?.reason.message.contains("--eject-cdrom") == true)
            #expect(try await hosts[1].orders.host().guests.isEmpty)
            let endpoints = try #require(try await prepare(bytes, attempt: 1).endpoints)
            try await mover.mirror(endpoints)
            try await mover.outgoing(.mirrored)
            try await mover.sendMemory(endpoints)
            try await mover.outgoing(.confirmed)
            let console = try await hosts[1].orders.guest(server).consoleLog
            try await MigrationFaultTests.expectTicking(console, boot: TestGuest.tick(report.consoleLog)?["boot"])
        }
    }

    @Test(arguments: ["pc", "q35"])
    func `an ejected medium stays behind, and comes back when the move is called off`(machine: String) async throws {
        try await withHosts("a", "b") { hosts in
            let path = try medium(hosts[0])
            let description = description(path, machine: machine)
            let server = description.server
            let report = try await boot(description, on: hosts[0])
            if machine == "pc" { try await eventually("the guest sees its cdrom") { seen(report.consoleLog) } }
            func setMedium(_ medium: String, on host: TestHost, epoch: Int64) async throws -> GuestReport {
                try await host.orders.setCDROM(server, CDROMOrder(epoch: Epoch(epoch), medium: medium))
            }
            for _ in 1...2 {
                let ejected = try await setMedium("", on: hosts[0], epoch: 10)
                #expect(ejected.description.cdrom == "")
                #expect(ejected.cdromBytes == nil)
            }
            // Back in, as a rollback does, and out again.
            #expect(try await setMedium(path, on: hosts[0], epoch: 10).cdromBytes == 1 << 20)
            await #expect(throws: AgentProblem.self) { try await setMedium("/nosuch.iso", on: hosts[0], epoch: 10) }
            #expect(try await hosts[0].orders.guest(server).description.cdrom == path)
            _ = try await setMedium("", on: hosts[0], epoch: 10)
            // Nothing needs it now.
            try FileManager.default.removeItem(atPath: path)

            let mover = Mover(server, from: hosts[0], to: hosts[1])
            let endpoints = try await mover.prepare()
            try await mover.mirror(endpoints)
            try await mover.outgoing(.mirrored)
            try await mover.sendMemory(endpoints)
            try await mover.outgoing(.confirmed)
            let arrived = try await hosts[1].orders.guest(server)
            #expect(arrived.description.cdrom == "")
            try await MigrationFaultTests.expectTicking(arrived.consoleLog, boot: TestGuest.tick(report.consoleLog)?["boot"])
            // The drive is still there, and takes a medium.
            let other = try medium(hosts[1], bytes: 4 << 20)
            #expect(try await setMedium(other, on: hosts[1], epoch: 12).cdromBytes == 4 << 20)
        }
    }
}
