import AgentAPI
import Fleet
import Foundation
import Glibc
import Testing

@testable import Hypervisor

@Suite(.serialized, .timeLimit(.minutes(5)))
struct InventoryTests {
    @Test func `tells records, guests, files, clock and certificates, whatever they belong to`() async throws {
        try await withHosts("a") { hosts in
            let host = hosts[0]
            let server = ServerID.unique()
            _ = try await host.orders.define(server, DefineOrder(epoch: Epoch(1), description: TestGuest.description(server)))
            _ = try await host.orders.start(server, StartOrder(epoch: Epoch(2)))
            try Data(count: 100_000).write(to: URL(fileURLWithPath: "\(host.folder)/disks/stray.qcow2"))
            var inventory = try await host.orders.inventory()
            let book = try #require(inventory.guests.first)
            #expect(inventory.guests.count == 1 && book.tenure == .home && book.isWanted && book.epoch == Epoch(2))
            let pid = try #require(book.pid)
            #expect(kill(pid, 0) == 0 && book.runState == "running" && book.missingDisks.isEmpty)
            #expect(Set(inventory.entries.map(\.name)) == [server.value, "stray.qcow2"])
            #expect(inventory.entries.allSatisfy { $0.bytes > 0 && $0.storage == "local" && !$0.isKept })
            #expect(
                abs(inventory.clock - .now) < 5000 && inventory.strays.isEmpty && inventory.unseen.isEmpty && inventory.troubles.isEmpty)
            #expect(Set(inventory.certificates.map(\.kind)) == [.own, .authority])
            #expect(inventory.certificates.allSatisfy { (3_000_000...3_700_000).contains($0.end - .now) })

            // QEMU ends without anybody's order, and its disk goes.
            kill(pid, SIGKILL)
            let deadline = ContinuousClock.now.advanced(by: .seconds(10))
            while try await host.orders.inventory().guests.first?.pid != nil, ContinuousClock.now < deadline {}
            for disk in TestGuest.description(server).disks {
                try FileManager.default.removeItem(atPath: "\(host.folder)/disks/\(server)/\(disk.name).\(disk.format.rawValue)")
            }
            inventory = try await host.orders.inventory()
            let gone = try #require(inventory.guests.first)
            #expect(gone.pid == nil && gone.runState == nil && gone.isWanted)
            #expect(gone.missingDisks == TestGuest.description(server).disks.map(\.name))
        }
    }

    @Test func `files are cleared only where the record says that nothing of the server is here`() async throws {
        try await withHosts("a") { hosts in
            let host = hosts[0]
            let server = ServerID.unique()
            _ = try await host.orders.define(server, DefineOrder(epoch: Epoch(3), description: TestGuest.description(server)))
            let folder = "\(host.folder)/disks/\(server)"
            func refused(_ order: ClearOrder) async -> AgentProblem? {
                await #expect(throws: AgentProblem.self) { try await host.orders.clear(server, order) }
            }
            #expect(await refused(ClearOrder(epoch: Epoch(3), storages: ["local"]))?.kind == .conflict)
            #expect(FileManager.default.fileExists(atPath: folder))
            try await host.orders.delete(server, DeleteOrder(epoch: Epoch(4)))
            try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
            #expect(await refused(ClearOrder(epoch: Epoch(3), storages: ["local"]))?.kind == .staleEpoch)
            #expect(await refused(ClearOrder(epoch: Epoch(4), storages: ["shared"]))?.kind == .invalid)
            #expect(FileManager.default.fileExists(atPath: folder))
            for _ in 1...2 { try await host.orders.clear(server, ClearOrder(epoch: Epoch(4), storages: ["local"])) }
            #expect(!FileManager.default.fileExists(atPath: folder))
            #expect(try await host.orders.inventory().entries.isEmpty)
            let stranger = await #expect(throws: AgentProblem.self) {
                try await host.orders.clear(ServerID.unique(), ClearOrder(epoch: Epoch(1), storages: ["local"]))
            }
            #expect(stranger?.kind == .notFound)
        }
    }
}
