import AgentAPI
import Client
import Fleet
import Foundation
import Hummingbird
import Store
import Testing

@testable import Controller

/// A controller may die between the intent in the store and the agent's answer: another one sees it through.
@Suite(.timeLimit(.minutes(1)))
struct OperationTests {
    /// Leases long enough for a slow machine to renew, short enough for a test to see them end.
    static let brief = Operations.Timing(lease: .milliseconds(600), interval: .milliseconds(50))

    /// What a controller that died left: the operation begun in the store under a lease that ended.
    private func orphan(_ fixture: Fixture, _ name: String, _ status: ServerStatus, from: ServerStatus) async throws -> Server {
        let server = try await fixture.store.server(name)
        return try await fixture.store.beginOperation(server.id, status, from: [from], owner: "controller/dead", leaseMS: 0)
    }

    private func orphanedDeploying(_ fixture: Fixture, _ name: String) async throws -> Server {
        let host = try await fixture.store.host("host1")
        let id = ServerID.unique()
        let description = GuestDescription(
            server: id, name: name, vcpus: 1, memoryBytes: 64 << 20, cpuModel: "", machine: "", accelerator: .auto, firmware: .bios,
            boot: nil,
            disks: [], cdrom: nil, nics: [])
        let server = Server(
            id: id, name: name, status: .deploying, host: host.id, epoch: .none, description: description, note: nil, createdAt: .now)
        return try await fixture.store.createServer(server, owner: "controller/dead", leaseMS: 0)
    }

    @Test func `start, stop and delete of a dead controller are seen through under a higher epoch`() async throws {
        try await Fixture.with { fixture in
            try await fixture.server("a")
            try await fixture.server("b", running: true)
            try await fixture.server("c")
            let start = try await orphan(fixture, "a", .starting, from: .ready)
            let stop = try await orphan(fixture, "b", .stopping, from: .running)
            let delete = try await orphan(fixture, "c", .deleting, from: .ready)
            await fixture.controller.operations.takeOver()

            #expect(try await fixture.store.server("a").status == .running)
            #expect(try await fixture.store.server("a").epoch == start.epoch.next)
            #expect(try await fixture.store.server("b").status == .ready)
            #expect(try await fixture.store.server("b").epoch == stop.epoch.next)
            #expect(try await fixture.store.servers(ServerFilter()).map(\.name).sorted() == ["a", "b"])
            let orders = await fixture.fleet["host1"].orders
            #expect(orders.contains("start a \(start.epoch.next)"))
            #expect(orders.contains("stop(15000) b \(stop.epoch.next)"))
            #expect(orders.contains("delete c \(delete.epoch.next)"))
        }
    }

    @Test func `a delete that had come through but was not recorded is found done`() async throws {
        try await Fixture.with { fixture in
            try await fixture.server("a")
            let server = try await orphan(fixture, "a", .deleting, from: .ready)
            await fixture.fleet["host1"].set(server.id, nil)
            await fixture.controller.operations.takeOver()
            #expect(try await fixture.store.servers(ServerFilter()).isEmpty)
        }
    }

    @Test func `a deploying of a dead controller is completed where the agent has the guest`() async throws {
        try await Fixture.with { fixture in
            let server = try await orphanedDeploying(fixture, "a")
            _ = try await fixture.fleet["host1"].define(server.id, DefineOrder(epoch: server.epoch, description: server.description))
            await fixture.controller.operations.takeOver()
            let completed = try await fixture.store.server("a")
            #expect(completed.status == .ready)
            #expect(completed.description.machine == "pc-i440fx-7.2")
            #expect(completed.description.memoryBytes == 64 << 20 + 8192)
        }
    }

    @Test func `a deploying of a dead controller is removed where the agent has no guest`() async throws {
        try await Fixture.with { fixture in
            let server = try await orphanedDeploying(fixture, "a")
            await fixture.controller.operations.takeOver()
            #expect(try await fixture.store.servers(ServerFilter()).isEmpty)
            #expect(await fixture.fleet["host1"].orders == ["delete \(server.id) 2"])
            try await fixture.server("a")
        }
    }

    @Test func `nothing is taken over from a controller that lives, however slow its agent`() async throws {
        try await Fixture.with(timing: Self.brief) { fixture in
            try await fixture.server("a")
            let other = try Fixture.controller(fixture.store, fixture.fleet, name: "c2", timing: Self.brief)
            let agent = fixture.fleet["host1"]
            await agent.hang("start")
            async let reply = fixture.ask(.post, "/v1/servers/a/start")
            try await eventually("the start is under way") { await agent.orders.last == "start a 2" }
            let end = ContinuousClock.now + Self.brief.lease * 3
            while ContinuousClock.now < end {
                await other.operations.takeOver()
                try await Task.sleep(for: .milliseconds(20))
            }
            await agent.letGo("start")
            #expect(try await reply.status == 200)
            #expect(await agent.orders.filter { $0.hasPrefix("start") } == ["start a 2"])
            #expect(try await fixture.store.server("a").status == .running)
        }
    }

    @Test func `a controller whose operation was taken over says so and writes nothing`() async throws {
        try await Fixture.with { fixture in
            try await fixture.server("a")
            let agent = fixture.fleet["host1"]
            await agent.hang("start")
            async let reply = fixture.ask(.post, "/v1/servers/a/start")
            try await eventually("the start is under way") { await agent.orders.last == "start a 2" }
            // As if this controller had slept beyond its lease: another one has claimed the operation and ended it.
            let server = try await fixture.store.server("a")
            try await fixture.store.finishOperation(server.id, epoch: server.epoch, status: .ready, note: nil)
            _ = try await fixture.store.beginOperation(server.id, .deleting, from: [.ready], owner: "controller/other", leaseMS: 60_000)
            await agent.letGo("start")
            #expect(try await reply.status == 409)
            #expect(try await reply.problem.code == "superseded")
            #expect(try await fixture.store.server("a").status == .deleting)
        }
    }

    @Test func `an agent that gives no answer leaves the intent, which is seen through once it does`() async throws {
        try await Fixture.with(timing: Self.brief) { fixture in
            let agent = fixture.fleet["host1"]
            try await fixture.server("a")
            await agent.fail("start", with: silence)
            let reply = try await fixture.ask(.post, "/v1/servers/a/start")
            #expect(reply.status == 504)
            #expect(try reply.problem.detail.contains("stays starting"))
            #expect(try await fixture.store.server("a").status == .starting)

            await agent.fail("define", with: silence)
            let created = try await fixture.ask(.post, "/v1/servers", #"{"name": "b", "prefer_host": "host1"}"#)
            #expect(created.status == 504)
            #expect(try await fixture.store.server("b").status == .deploying)

            await agent.fail("start", with: nil)
            await agent.fail("define", with: nil)
            try await withThrowingTaskGroup { group in
                group.addTask { try await fixture.controller.operations.run() }
                defer { group.cancelAll() }
                try await eventually("a runs") { try await fixture.store.server("a").status == .running }
                try await eventually("b is gone") { try await fixture.store.servers(ServerFilter()).map(\.name) == ["a"] }
            }
        }
    }

    @Test func `two orders for one server at once: one is carried out, the other is told to wait`() async throws {
        try await Fixture.with { fixture in
            try await fixture.server("a")
            let agent = fixture.fleet["host1"]
            await agent.hang("start")
            async let first = fixture.ask(.post, "/v1/servers/a/start")
            try await eventually("the start is under way") { await agent.orders.last == "start a 2" }
            let second = try await fixture.ask(.delete, "/v1/servers/a")
            #expect(second.status == 409)
            await agent.letGo("start")
            #expect(try await first.status == 200)
            #expect(await agent.orders.last == "start a 2")
        }
    }
}
