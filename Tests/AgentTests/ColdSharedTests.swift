import AgentAPI
import Attempts
import Fleet
import Foundation
import Glibc
import Sharing
import Testing

@testable import Agent
@testable import Copying
@testable import Hypervisor

/// Stopped servers with disks that every host sees.
@Suite(.serialized, .timeLimit(.minutes(5)))
struct ColdSharedTests {
    private static func local(_ host: TestHost) -> String { host.configuration.storages[0].path }

    private static func disk(_ disk: GuestDescription.Disk, of server: ServerID, on host: TestHost) throws -> String {
        try HostPaths(host.configuration).of(server).disk(disk)
    }

    @discardableResult
    private static func tool(_ program: String, _ arguments: String...) async throws -> String {
        try await Program.succeed(program, arguments, deadline: .seconds(60), code: .diskError, for: "a test's tool")
    }

    /// Defines the server, with a pattern of its own on each disk, beyond what the test guest writes.
    private static func define(_ description: GuestDescription, on host: TestHost) async throws {
        _ = try await host.orders.define(description.server, DefineOrder(epoch: Epoch(1), description: description))
        for (number, disk) in description.disks.enumerated() {
            try await tool("qemu-io", "-c", "write -P \(number + 7) 128M 1M", try Self.disk(disk, of: description.server, on: host))
        }
    }

    private static func expectPatterns(_ description: GuestDescription, on host: TestHost) async throws {
        for (number, disk) in description.disks.enumerated() {
            let path = try Self.disk(disk, of: description.server, on: host)
            let read = try await Program.run("qemu-io", ["-r", "-c", "read -P \(number + 7) 128M 1M", path], deadline: .seconds(30))
            #expect(read.status == 0 && !read.output.contains("verification failed"), "\(disk.name): \(read)")
        }
    }

    /// What lies in the server's folder on the shared storage but for the owner record: the same file, with the same content.
    private static func shared(_ server: ServerID, on host: TestHost) async throws -> [String: String] {
        let folder = SharedStorageTests.folder(server, on: host)
        var found: [String: String] = [:]
        for name in host.files(under: folder) where name != OwnerDesk.file {
            let path = "\(folder)/\(name)"
            found[name] = "\(SharedStorageTests.inode(path)) \(try await tool("md5sum", path).prefix(32))"
        }
        return found
    }

    @Test(arguments: [["shared"], ["local", "shared"], ["shared", "local"]])
    func `of a stopped server only what is not shared is copied, and it boots on one host only`(storages: [String]) async throws {
        try await withHosts("a", "b") { hosts in
            let server = ServerID.unique()
            let description = TestGuest.description(server, disks: storages.count, storages: storages)
            try await Self.define(description, on: hosts[0])
            let before = try await Self.shared(server, on: hosts[0])
            #expect(before.count == 1)
            let localDisks = description.disks.filter { $0.storage == "local" }.map { "\($0.name).qcow2" }

            let mover = ColdMover(server, from: hosts[0], to: hosts[1])
            let loan = try await mover.lend()
            #expect(loan.files.map(\.name) == localDisks.map { "local/\($0)" })
            #expect((loan.port == 0) == localDisks.isEmpty)
            let locked = await #expect(throws: AgentProblem.self) {
                try await hosts[0].orders.start(server, StartOrder(epoch: Epoch(10)))
            }
            #expect(locked?.kind == .conflict)
            try await mover.receive()
            try await mover.incoming()
            _ = try await hosts[0].orders.yield(server, YieldOrder(epoch: mover.epoch, key: mover.key))
            #expect(try SharedStorageTests.owner(server, on: hosts[0]) == OwnerRecord(server: server, epoch: Epoch(1), host: "a"))
            #expect(try await mover.handOver().phase == .owned)
            let owner = OwnerRecord(server: server, epoch: mover.epoch, host: "b")
            try await eventually("the owner record names the target", within: .seconds(10)) {
                try SharedStorageTests.owner(server, on: hosts[0]) == owner
            }
            #expect(try await Self.shared(server, on: hosts[1]) == before)

            // The source keeps to what it gave away, also when its agent is started anew.
            try await hosts[0].stop()
            try await hosts[0].start()
            let refused = await #expect(throws: AgentProblem.self) {
                try await hosts[0].orders.start(server, StartOrder(epoch: Epoch(11)))
            }
            #expect(refused?.kind == .owned)
            #expect(
                try await hosts[0].orders.discard(server, DiscardOrder(epoch: Epoch(11), key: mover.key, end: .source)) == DiscardReport())
            #expect(try await Self.shared(server, on: hosts[1]) == before)
            #expect(hosts[0].files(under: Self.local(hosts[0])) == [])
            #expect(hosts[1].files(under: Self.local(hosts[1])) == (localDisks.isEmpty ? [] : ["\(server)", "\(server)/\(localDisks[0])"]))
            let unknown = await #expect(throws: AgentProblem.self) {
                try await hosts[0].orders.start(server, StartOrder(epoch: Epoch(12)))
            }
            #expect(unknown?.kind == .notFound)

            let started = try await hosts[1].orders.start(server, StartOrder(epoch: Epoch(13)))
            try await eventually("it boots on the target, and writes") {
                (TestGuest.tick(started.consoleLog)?["record"].flatMap { Int($0) } ?? 0) > 20
            }
            // The epoch under which it became the owner, whatever was ordered since.
            #expect(try SharedStorageTests.owner(server, on: hosts[1]) == owner)
            _ = try await hosts[1].orders.stop(server, StopOrder(epoch: Epoch(14), graceMS: 30_000))
            try await Self.expectPatterns(description, on: hosts[1])
        }
    }

    @Test(arguments: [["local", "shared"], ["shared", "local"]])
    func `an attempt that is given up leaves what is shared as it was`(storages: [String]) async throws {
        try await withHosts("a", "b") { hosts in
            let server = ServerID.unique()
            let description = TestGuest.description(
                server, memoryMB: 128, disks: 2, firmware: .uefi, machine: "q35", storages: storages)
            try await Self.define(description, on: hosts[0])
            let before = try await Self.shared(server, on: hosts[0])
            // The firmware's variables lie beside the first disk.
            #expect(before.keys.contains("nvram.fd") == (storages[0] == "shared"))
            var mover = ColdMover(server, from: hosts[0], to: hosts[1])
            let wanted = storages[0] == "shared" ? ["local/disk1.qcow2"] : ["local/disk0.qcow2", "local/nvram.fd"]
            for keepsCopies in [true, false] {
                #expect(try await mover.lend().files.map(\.name) == wanted)
                try await mover.receive()
                try await mover.incoming()
                _ = try await hosts[0].orders.yield(server, YieldOrder(epoch: mover.epoch, key: mover.key))
                _ = try await hosts[1].orders.refuse(server, RefuseOrder(epoch: mover.epoch, key: mover.key))
                try await hosts[1].orders.discard(
                    server, DiscardOrder(epoch: mover.epoch, key: mover.key, end: .target, keepsCopies: keepsCopies))
                #expect(hosts[1].files(under: Self.local(hosts[1])).isEmpty == !keepsCopies)
                #expect(try await Self.shared(server, on: hosts[1]) == before)
                _ = try await hosts[0].orders.takeBack(
                    server, TakeBackOrder(epoch: mover.epoch, key: mover.key, targetRefused: true))
                mover.key.attempt += 1
            }
            #expect(try SharedStorageTests.owner(server, on: hosts[0]) == OwnerRecord(server: server, epoch: Epoch(1), host: "a"))
            #expect(try await hosts[0].orders.start(server, StartOrder(epoch: Epoch(11))).summary.status == .running)
            _ = try await hosts[0].orders.stop(server, StopOrder(epoch: Epoch(12), graceMS: 0))
            try await Self.expectPatterns(description, on: hosts[0])
        }
    }

    @Test func `a host that sees another storage under the name, or calls it otherwise, takes nothing`() async throws {
        try await withHosts("a", "c", apart: ["c"]) { hosts in
            let server = ServerID.unique()
            let description = TestGuest.description(server, disks: 2, storages: ["local", "shared"])
            try await Self.define(description, on: hosts[0])
            let mover = ColdMover(server, from: hosts[0], to: hosts[1])
            let loan = try await mover.lend()
            let problem = await #expect(throws: AgentProblem.self) { try await mover.receive() }
            #expect(problem?.reason.code == .notShared)
            for storage in hosts[1].configuration.storages { #expect(hosts[1].files(under: storage.path) == []) }

            let paths = HostPaths(hosts[1].configuration).of(server)
            try LentFiles.require(loan.files, toMake: description, paths)
            var tooMany = loan.files
            tooMany[0].storage = "shared"
            for files in [[], tooMany] {
                let refused = #expect(throws: AgentProblem.self) { try LentFiles.require(files, toMake: description, paths) }
                #expect(refused?.reason.code == .notShared)
            }
        }
    }
}
