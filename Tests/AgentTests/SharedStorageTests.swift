import AgentAPI
import Attempts
import Fleet
import Foundation
import Glibc
import Sharing
import Testing

@testable import Agent
@testable import Hypervisor

/// Disks that every host sees.
@Suite(.serialized, .timeLimit(.minutes(5)))
struct SharedStorageTests {
    static func folder(_ server: ServerID, on host: TestHost) -> String { "\(host.configuration.storages[1].path)/\(server)" }

    static func owner(_ server: ServerID, on host: TestHost) throws -> OwnerRecord {
        try JSONDecoder().decode(
            OwnerRecord.self, from: Data(contentsOf: URL(fileURLWithPath: "\(folder(server, on: host))/owner.json")))
    }

    static func inode(_ path: String) -> UInt64 {
        var status = stat()
        return stat(path, &status) == 0 ? UInt64(status.st_ino) : 0
    }

    static func adopt(_ description: GuestDescription, on host: TestHost, from source: String, epoch: Int64, attempt: Int = 1) async throws
        -> AttemptKey
    {
        let key = AttemptKey(migration: .unique(), attempt: attempt)
        let report = try await host.orders.adopt(
            description.server, AdoptOrder(epoch: Epoch(epoch), key: key, description: description, owners: [source]))
        #expect(report.summary.status == .stopped)
        return key
    }

    static func move(_ description: GuestDescription, _ hosts: [TestHost]) async throws -> (Mover, before: GuestReport, after: GuestReport)
    {
        let before = try await boot(description, on: hosts[0])
        let mover = Mover(description.server, from: hosts[0], to: hosts[1])
        let endpoints = try await mover.prepare()
        try await mover.mirror(endpoints)
        let mirrored = try await mover.outgoing(.mirrored)
        #expect(mirrored.progress.diskTotal == 0 || description.disks.contains { $0.storage == "local" })
        try await mover.sendMemory(endpoints)
        try await mover.outgoing(.confirmed)
        let last = try #require(TestGuest.tick(before.consoleLog))
        let after = try await hosts[1].orders.guest(description.server)
        try await eventually("it ticks on, and writes on") {
            guard let tick = TestGuest.tick(after.consoleLog) else { return false }
            return (tick["record"].flatMap { Int($0) } ?? 0) > (last["record"].flatMap { Int($0) } ?? 0) + 20
        }
        let tick = try #require(TestGuest.tick(after.consoleLog))
        #expect(tick["boot"] == last["boot"])
        #expect(tick["memerr"] == "0")
        return (mover, before, after)
    }

    @Test(arguments: [Firmware.bios, .uefi])
    func `a running guest moves without its shared disk`(firmware: Firmware) async throws {
        try await withHosts("a", "b") { hosts in
            let server = ServerID.unique()
            let folder = Self.folder(server, on: hosts[0])
            let description = TestGuest.description(
                server, memoryMB: firmware == .uefi ? 256 : 96, firmware: firmware, machine: firmware == .uefi ? "q35" : "pc",
                storages: ["shared"])
            #expect(try await hosts[0].orders.host().storages.map(\.kind) == [.local, .shared])
            _ = try await hosts[0].orders.define(server, DefineOrder(epoch: Epoch(1), description: description))
            let inode = Self.inode("\(folder)/disk0.qcow2")
            let variables = Self.inode("\(folder)/nvram.fd")
            #expect((variables != 0) == (firmware == .uefi))
            #expect(try Self.owner(server, on: hosts[0]) == OwnerRecord(server: server, epoch: Epoch(1), host: "a"))

            let (mover, _, _) = try await Self.move(description, hosts)
            try await eventually("the owner record names the target", within: .seconds(5)) {
                try Self.owner(server, on: hosts[0]) == OwnerRecord(server: server, epoch: mover.epoch, host: "b")
            }
            // Nobody else writes to the disk meanwhile.
            let writer = try await Program.run("qemu-io", ["-c", "write 0 512", "\(folder)/disk0.qcow2"], deadline: .seconds(10))
            #expect(writer.status != 0 && writer.error.contains("lock"), "\(writer)")

            #expect(
                try await hosts[0].orders.discard(server, DiscardOrder(epoch: mover.epoch, key: mover.key, end: .source))
                    == DiscardReport())
            #expect(Self.inode("\(folder)/disk0.qcow2") == inode)
            #expect(Self.inode("\(folder)/nvram.fd") == variables)
            #expect(hosts[0].files(under: hosts[0].configuration.storages[0].path) == [])
            #expect(hosts[1].files(under: hosts[1].configuration.storages[0].path) == [])
            _ = try await hosts[1].orders.stop(server, StopOrder(epoch: Epoch(12), graceMS: 30_000))
            let check = try await Program.run("qemu-img", ["check", "\(folder)/disk0.qcow2"], deadline: .seconds(20))
            #expect(check.status == 0, "\(check)")
            // It boots again from what it left.
            _ = try await hosts[1].orders.start(server, StartOrder(epoch: Epoch(13)))
            _ = try await hosts[1].orders.stop(server, StopOrder(epoch: Epoch(14), graceMS: 0))
            try await hosts[1].orders.delete(server, DeleteOrder(epoch: Epoch(15)))
            #expect(!FileManager.default.fileExists(atPath: folder))
        }
    }

    @Test(arguments: [["local", "shared"], ["shared", "local"]])
    func `each disk moves by its own nature`(storages: [String]) async throws {
        try await withHosts("a", "b") { hosts in
            let server = ServerID.unique()
            let description = TestGuest.description(server, disks: 2, storages: storages)
            let (mover, _, _) = try await Self.move(description, hosts)
            let shared = "\(Self.folder(server, on: hosts[0]))/disk\(storages[0] == "shared" ? 0 : 1).qcow2"
            let inode = Self.inode(shared)
            try await hosts[0].orders.discard(server, DiscardOrder(epoch: mover.epoch, key: mover.key, end: .source))
            #expect(Self.inode(shared) == inode && inode != 0)
            #expect(hosts[0].files(under: hosts[0].configuration.storages[0].path) == [])
            let local = "disk\(storages[0] == "local" ? 0 : 1).qcow2"
            #expect(hosts[1].files(under: hosts[1].configuration.storages[0].path) == ["\(server)", "\(server)/\(local)"])
            _ = try await hosts[1].orders.stop(server, StopOrder(epoch: Epoch(12), graceMS: 30_000))
            for path in [shared, "\(hosts[1].configuration.storages[0].path)/\(server)/\(local)"] {
                let check = try await Program.run("qemu-img", ["check", path], deadline: .seconds(20))
                #expect(check.status == 0, "\(check)")
            }
        }
    }

    @Test func `an attempt that is given up leaves the shared disk and the running guest as they were`() async throws {
        try await withHosts("a", "b") { hosts in
            let server = ServerID.unique()
            let report = try await boot(TestGuest.description(server, disks: 2, storages: ["shared", "local"]), on: hosts[0])
            let inode = Self.inode("\(Self.folder(server, on: hosts[0]))/disk0.qcow2")
            let mover = Mover(server, from: hosts[0], to: hosts[1])
            let endpoints = try await mover.prepare()
            try await mover.mirror(endpoints)
            try await mover.outgoing(.mirrored)
            _ = try await hosts[0].orders.abort(server, AbortOrder(epoch: mover.epoch, key: mover.key, targetRefused: false))
            _ = try await hosts[1].orders.refuse(server, RefuseOrder(epoch: mover.epoch, key: mover.key))
            try await hosts[1].orders.discard(server, DiscardOrder(epoch: mover.epoch, key: mover.key, end: .target))
            #expect(hosts[1].files(under: hosts[1].configuration.storages[0].path) == [])
            #expect(Self.inode("\(Self.folder(server, on: hosts[0]))/disk0.qcow2") == inode && inode != 0)
            #expect(try Self.owner(server, on: hosts[0]).host == "a")
            let record = TestGuest.tick(report.consoleLog)?["record"].flatMap { Int($0) } ?? 0
            try await eventually("it writes on") {
                (TestGuest.tick(report.consoleLog)?["record"].flatMap { Int($0) } ?? 0) > record + 20
            }
        }
    }

    @Test func `a storage that only bears the same name is found out`() async throws {
        try await withHosts("a", "b", "c", apart: ["c"]) { hosts in
            let server = ServerID.unique()
            let description = TestGuest.description(server, storages: ["shared"])
            let pinned = try await hosts[0].orders.define(server, DefineOrder(epoch: Epoch(1), description: description)).description
            let key = AttemptKey(migration: .unique(), attempt: 1)
            func prove(_ host: TestHost, _ act: ProofOrder.Act) async throws -> [String: ProofReport.Finding] {
                try await host.orders.prove(
                    server,
                    ProofOrder(epoch: Epoch(2), key: key, act: act, storages: ["local", "shared", "none"], nonce: "0123456789")
                ).storages
            }
            #expect(
                try await prove(hosts[0], .write) == [
                    "local": .init(kind: .local, isSeen: true), "shared": .init(kind: .shared, isSeen: true),
                    "none": .init(kind: nil, isSeen: false),
                ])
            #expect(
                try await prove(hosts[1], .look) == [
                    "local": .init(kind: .local, isSeen: false), "shared": .init(kind: .shared, isSeen: true),
                    "none": .init(kind: nil, isSeen: false),
                ])
            #expect(try await prove(hosts[2], .look)["shared"] == .init(kind: .shared, isSeen: false))
            for _ in 0..<2 { _ = try await prove(hosts[0], .remove) }
            #expect(try await prove(hosts[1], .look)["shared"]?.isSeen == false)
            #expect(hosts[0].files(under: hosts[0].configuration.storages[0].path) == [])

            // Also who does not ask beforehand finds no disk where it should be, and makes none.
            let missing = await #expect(throws: AgentProblem.self) {
                try await hosts[2].orders.prepare(
                    server, PrepareOrder(epoch: Epoch(3), key: key, description: pinned, source: "a", sharedDisks: ["disk0"]))
            }
            #expect(missing?.reason.code == .notShared)
            let unproven = await #expect(throws: AgentProblem.self) {
                try await hosts[1].orders.prepare(
                    server, PrepareOrder(epoch: Epoch(3), key: key, description: pinned, source: "a", sharedDisks: []))
            }
            #expect(unproven?.reason.code == .notShared)
            let adopted = await #expect(throws: AgentProblem.self) {
                _ = try await Self.adopt(pinned, on: hosts[2], from: "a", epoch: 4)
            }
            #expect(adopted?.reason.code == .notShared)
            #expect(hosts[2].files(under: hosts[2].configuration.storages[1].path) == [])
        }
    }

    @Test func `what is another host's is not made anew`() async throws {
        try await withHosts("a", "b") { hosts in
            let server = ServerID.unique()
            let description = TestGuest.description(server, storages: ["shared"])
            _ = try await hosts[0].orders.define(server, DefineOrder(epoch: Epoch(1), description: description))
            let problem = await #expect(throws: AgentProblem.self) {
                try await hosts[1].orders.define(server, DefineOrder(epoch: Epoch(2), description: description))
            }
            #expect(problem?.kind == .conflict)
            #expect(FileManager.default.fileExists(atPath: "\(Self.folder(server, on: hosts[0]))/disk0.qcow2"))
            #expect(try Self.owner(server, on: hosts[0]) == OwnerRecord(server: server, epoch: Epoch(1), host: "a"))
            // One that cannot be made leaves nothing.
            let other = ServerID.unique()
            var broken = TestGuest.description(other, storages: ["shared"])
            broken.disks[0].sizeBytes = 0
            await #expect(throws: AgentProblem.self) {
                try await hosts[0].orders.define(other, DefineOrder(epoch: Epoch(1), description: broken))
            }
            #expect(!FileManager.default.fileExists(atPath: Self.folder(other, on: hosts[0])))
        }
    }
}
