import AgentAPI
import Fleet
import Foundation
import Glibc
import Testing

@testable import Agent
@testable import Hypervisor

/// What a guest keeps in its TPM, told by the guest itself.
@Suite(.serialized, .timeLimit(.minutes(5)))
struct TPMTests {
    static func description(_ disks: Int = 1, machine: String = "pc") -> GuestDescription {
        var guest = TestGuest.description(
            .unique(), disks: disks, machine: machine, parameters: "godwit.tpm=1" + (disks == 0 ? " godwit.disk=none" : ""))
        guest.tpm = .v2
        return guest
    }

    /// The last thing that the guest told of its TPM.
    static func witness(_ console: String) -> [String: String]? {
        let text = (try? String(contentsOfFile: console, encoding: .utf8)) ?? ""
        guard let line = text.split(separator: "\r\n").last(where: { $0.hasPrefix("GODWIT tpm ") && $0.contains(" sum=") }) else {
            return nil
        }
        return Dictionary(
            line.split(separator: " ").dropFirst(2).map { pair in
                let parts = pair.split(separator: "=", maxSplits: 1).map(String.init)
                return (parts[0], parts.count > 1 ? parts[1] : "")
            }
        ) { first, _ in first }
    }

    static func number(_ console: String, _ key: String = "number") -> Int { witness(console)?[key].flatMap { Int($0) } ?? -1 }

    private func emulator(of server: ServerID, on host: TestHost) throws -> Int32? {
        try TPMEmulator.pid(HostPaths(host.configuration).of(server))
    }

    @Test func `is ended by an agent that finds no QEMU to it`() async throws {
        try await withHosts("a") { hosts in
            let host = hosts[0]
            let description = Self.description()
            _ = try await host.orders.define(description.server, DefineOrder(epoch: Epoch(1), description: description))
            let paths = HostPaths(host.configuration).of(description.server)
            try await host.stop()
            // As one that dies before QEMU is started leaves it.
            try await TPMEmulator.start(host.configuration.swtpm, state: try paths.tpm(of: description), paths: paths)
            let left = try #require(try emulator(of: description.server, on: host))
            try await host.start()
            #expect(!isAlive(left))
        }
    }

    @Test func `keeps what the guest wrote over a power cut, and ends with QEMU however that ends`() async throws {
        try await withHosts("a") { hosts in
            let host = hosts[0]
            let description = Self.description()
            let server = description.server
            let report = try await boot(description, on: host)
            try await eventually("the guest has written into its TPM") { Self.number(report.consoleLog) >= 2 }
            #expect(Self.number(report.consoleLog, "found") == 0)
            let folder = "\(host.configuration.storages[0].path)/\(server)/tpm"
            #expect(host.files(under: folder).contains("tpm2-00.permall"))
            let first = try #require(try emulator(of: server, on: host))

            // It outlives the agent, and ends with QEMU although no agent is there.
            try await host.stop()
            #expect(isAlive(first))
            kill(try #require(report.summary.pid), SIGKILL)
            try await eventually("the TPM ends with QEMU", within: .seconds(10)) { !isAlive(first) }
            let reached = Self.number(report.consoleLog)
            try await host.start()
            try await eventually("the agent sees it") { try await host.orders.guest(server).summary.status == .stopped }

            _ = try await host.orders.start(server, StartOrder(epoch: Epoch(3)))
            try await eventually("it found what it had written") { Self.number(report.consoleLog, "found") >= reached }
            #expect(Self.witness(report.consoleLog)?["tpmerr"] == "0")
            let second = try #require(try emulator(of: server, on: host))
            _ = try await host.orders.stop(server, StopOrder(epoch: Epoch(4), graceMS: 0))
            try await eventually("the TPM ends with QEMU", within: .seconds(10)) { !isAlive(second) }
            try await host.orders.delete(server, DeleteOrder(epoch: Epoch(5)))
            #expect(host.files(under: host.configuration.storages[0].path) == [])
        }
    }

    @Test(arguments: [("pc", 1), ("q35", 1), ("pc", 0)])
    func `moves with a running guest`(machine: String, disks: Int) async throws {
        try await withHosts("a", "b") { hosts in
            let description = Self.description(disks, machine: machine)
            let server = description.server
            let report = try await boot(description, on: hosts[0])
            try await eventually("the guest has written into its TPM") { Self.number(report.consoleLog) >= 2 }
            let mover = Mover(server, from: hosts[0], to: hosts[1])
            let endpoints = try await mover.prepare()
            try await mover.mirror(endpoints)
            try await mover.outgoing(.mirrored)
            try await mover.sendMemory(endpoints)
            try await mover.outgoing(.confirmed)
            let last = Self.number(report.consoleLog)
            let left = try state(of: description, on: hosts[0])
            let console = try await hosts[1].orders.guest(server).consoleLog
            // What it holds in memory (a register) and what it has written must both be as they were: the guest compares them each time.
            try await eventually("it goes on where it was") { Self.number(console) >= last + 3 }
            #expect(Self.witness(console)?["tpmerr"] == "0")
            #expect(Self.witness(console)?["found"] == "0")
            #expect(try state(of: description, on: hosts[0]) == left, "the source's TPM writes no more")

            let old = try #require(try emulator(of: server, on: hosts[0]))
            try await hosts[0].orders.discard(server, DiscardOrder(epoch: Epoch(11), key: mover.key, end: .source))
            #expect(!isAlive(old))
            #expect(hosts[0].files(under: hosts[0].configuration.storages[0].path) == [])
            let reached = Self.number(console)
            _ = try await hosts[1].orders.stop(server, StopOrder(epoch: Epoch(12), graceMS: 0))
            _ = try await hosts[1].orders.start(server, StartOrder(epoch: Epoch(13)))
            try await eventually("it found what it had written") { Self.number(console, "found") >= reached }
        }
    }

    private func state(of guest: GuestDescription, on host: TestHost) throws -> Data {
        let paths = HostPaths(host.configuration).of(guest.server)
        return try Data(contentsOf: URL(fileURLWithPath: "\(try paths.tpm(of: guest))/tpm2-00.permall"))
    }

    @Test func `leaves no TPM behind when the target is given up or QEMU does not start`() async throws {
        try await withHosts("a", "b") { hosts in
            let description = Self.description()
            let server = description.server
            let report = try await boot(description, on: hosts[0])
            let mover = Mover(server, from: hosts[0], to: hosts[1])
            _ = try await mover.prepare()
            let waiting = try #require(try emulator(of: server, on: hosts[1]))
            _ = try await hosts[1].orders.refuse(server, RefuseOrder(epoch: Epoch(10), key: mover.key))
            try await hosts[1].orders.discard(server, DiscardOrder(epoch: Epoch(10), key: mover.key, end: .target))
            #expect(!isAlive(waiting))
            #expect(hosts[1].files(under: hosts[1].configuration.storages[0].path) == [])
            try await MigrationFaultTests.expectTicking(report.consoleLog, boot: TestGuest.tick(report.consoleLog)?["boot"])

            // A QEMU that finds its kernel gone.
            var broken = Self.description()
            let kernel = "\(hosts[1].folder)/vmlinuz"
            try FileManager.default.copyItem(atPath: "\(TestGuest.folder)/vmlinuz", toPath: kernel)
            broken.boot?.kernel = kernel
            _ = try await hosts[1].orders.define(broken.server, DefineOrder(epoch: Epoch(1), description: broken))
            try FileManager.default.removeItem(atPath: kernel)
            await #expect(throws: AgentProblem.self) { try await hosts[1].orders.start(broken.server, StartOrder(epoch: Epoch(2))) }
            #expect(try emulator(of: broken.server, on: hosts[1]) == nil)
        }
    }
}
