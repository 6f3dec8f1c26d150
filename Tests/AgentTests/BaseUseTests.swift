import AgentAPI
import Fleet
import Foundation
import Testing

@testable import Agent
@testable import Hypervisor

/// How long base images stay.
@Suite(.serialized, .timeLimit(.minutes(3)))
struct BaseUseTests {
    private func folder(_ host: TestHost, _ storage: Int = 0) -> String { "\(host.configuration.storages[storage].path)/.base" }

    private func define(_ base: String, on host: TestHost, storage: String = "local") async throws -> GuestDescription {
        var wish = BaseImageTests.description()
        wish.disks[0].storage = storage
        let order = DefineOrder(epoch: Epoch(1), description: wish, bases: ["disk0": base])
        return try await host.orders.define(wish.server, order).description
    }

    @Test(arguments: [0, 1]) func `an image goes with the last server that rests on it, and no earlier`(storage: Int) async throws {
        try await withHosts("a", "b") { hosts in
            let name = hosts[0].configuration.storages[storage].name
            let upper = try await BaseImageTests.chain(on: hosts[0])
            let first = try await define(upper, on: hosts[0], storage: name)
            let second = try await define(upper, on: hosts[0], storage: name)
            let third = try await define("\(hosts[0].folder)/golden.raw", on: hosts[0], storage: name)
            let bases = try #require(first.disks[0].bases).map(\.name)
            #expect(third.disks[0].bases?.map(\.name) == [bases[1]])
            func delete(_ guest: GuestDescription) async throws {
                try await hosts[0].orders.delete(guest.server, DeleteOrder(epoch: Epoch(2)))
            }
            try await delete(first)
            #expect(hosts[0].files(under: folder(hosts[0], storage)) == bases.sorted())
            try await delete(second)
            #expect(hosts[0].files(under: folder(hosts[0], storage)) == [bases[1]])
            // By a path of its own, beside the servers' folders, as a kept guest's is.
            let kept = "\(hosts[0].configuration.storages[storage].path)/.kept-x"
            try FileManager.default.createDirectory(atPath: kept, withIntermediateDirectories: true)
            try await BaseImageTests.image(
                "create", "-q", "-f", "qcow2", "-F", "raw", "-b", "../.base/\(bases[1])", "\(kept)/disk0.qcow2")
            try await delete(third)
            #expect(hosts[0].files(under: folder(hosts[0], storage)) == [bases[1]])
            try FileManager.default.removeItem(atPath: kept)
            let fourth = try await define("\(hosts[0].folder)/golden.raw", on: hosts[0], storage: name)
            try await delete(fourth)
            #expect(hosts[0].files(under: folder(hosts[0], storage)) == [])
        }
    }

    @Test func `one that a server is to rest on soon stays, one that its last server left goes`() async throws {
        try await withHosts("a", "b") { hosts in
            let upper = try await BaseImageTests.chain(on: hosts[0])
            let coming = try await define(upper, on: hosts[0])
            let bases = try #require(coming.disks[0].bases)
            let there = try await define(upper, on: hosts[1])
            let key = AttemptKey(migration: .unique(), attempt: 1)
            _ = try await hosts[0].orders.lend(coming.server, LendOrder(epoch: Epoch(10), key: key))
            _ = try await hosts[1].orders.receive(
                coming.server,
                ReceiveOrder(
                    epoch: Epoch(10), key: key, description: coming, source: "a", sourceAgentURL: hosts[0].url, bandwidth: 1 << 10))
            // Its disk is not there yet.
            try await hosts[1].orders.delete(there.server, DeleteOrder(epoch: Epoch(2)))
            #expect(hosts[1].files(under: folder(hosts[1])) == bases.map(\.name).sorted())
            _ = try await hosts[1].orders.receive(
                coming.server,
                ReceiveOrder(epoch: Epoch(10), key: key, description: coming, source: "a", sourceAgentURL: hosts[0].url, bandwidth: nil))
            try await eventually("its disk is there") {
                try await hosts[1].orders.incoming(coming.server, key, seen: 0, waitMS: 0).phase == .received
            }
            _ = try await hosts[0].orders.yield(coming.server, YieldOrder(epoch: Epoch(10), key: key))
            _ = try await hosts[1].orders.handOver(coming.server, HandoverOrder(epoch: Epoch(10), key: key, source: "a"))
            #expect(hosts[0].files(under: folder(hosts[0])) == bases.map(\.name).sorted())
            try await hosts[0].orders.discard(coming.server, DiscardOrder(epoch: Epoch(11), key: key, end: .source))
            #expect(hosts[0].files(under: folder(hosts[0])) == [])
            #expect(hosts[1].files(under: folder(hosts[1])) == bases.map(\.name).sorted())
        }
    }

    @Test func `nobody removes what somebody is about to rest on`() async throws {
        try await withHosts("a") { hosts in
            let guest = try await define(try await BaseImageTests.chain(on: hosts[0]), on: hosts[0])
            let bases = try #require(guest.disks[0].bases)
            let storage = hosts[0].configuration.storages[0].path
            try await BaseImages.holding([storage]) {
                try await hosts[0].orders.delete(guest.server, DeleteOrder(epoch: Epoch(2)))
            }
            #expect(hosts[0].files(under: folder(hosts[0])) == bases.map(\.name).sorted())
            // What cannot be looked into may rest on any of them: none goes.
            let loop = "\(storage)/loop"
            try FileManager.default.createSymbolicLink(atPath: loop, withDestinationPath: loop)
            await #expect(throws: AgentProblem.self) { _ = try await BaseImages.removeUnused(bases, on: storage) { [] } }
            try FileManager.default.removeItem(atPath: loop)
            let removed = try await BaseImages.removeUnused(bases, on: storage) { [bases[1].name] }
            #expect(removed == [bases[0].name])
            #expect(try await BaseImages.removeUnused(bases, on: storage) { [] } == [bases[1].name])
        }
    }
}
