import Client
import Fleet
import Foundation
import Hummingbird
import SQL
import Store
import Testing

@testable import Controller

/// What becomes of a host's servers when it does not answer, by controllers over a real store.
@Suite(.timeLimit(.minutes(1)))
struct HostDownTests {
    private static let path = "/v1/hosts/host1/auto-migrate-on-host-down"

    private func guarded(_ fixture: Fixture, _ hosts: String...) async throws {
        for host in hosts {
            await fixture.fleet[host].change {
                $0.boot = BootTime(bootID: "b", milliseconds: 1000)
                $0.guardian = GuardReport(state: .serving)
            }
            let answer = try await fixture.ask(
                .post, "/v1/hosts/\(host)/auto-migrate-on-host-down", #"{"auto_migrate_on_host_down": "enable"}"#)
            #expect(answer.status == 200)
            await fixture.controller.watch.look(at: try await fixture.store.host(host))
        }
    }

    @Test func `the switches are set by words, and the second needs the first`() async throws {
        try await Fixture.with(hosts: ["host1"]) { fixture in
            func set(_ body: String) async throws -> Fixture.Reply { try await fixture.ask(.post, Self.path, body) }
            let before: HostView = try await fixture.ask(.get, "/v1/hosts/host1").decode()
            #expect(!before.autoMigrateOnHostDown && !before.autoMigrateOnHostShutdown && before.guardian == .absent)
            for body in [
                "{}", #"{"auto_migrate_on_host_down": "on"}"#, #"{"auto_migrate_on_host_down": true}"#, #"{"auto": "enable"}"#,
            ] { #expect(try await set(body).status == 400, "\(body)") }
            let refused = try await set(#"{"auto_migrate_on_host_shutdown": "enable"}"#)
            #expect(refused.status == 400)
            #expect(try refused.problem.field == "auto_migrate_on_host_shutdown")
            #expect(try refused.problem.detail.contains("auto_migrate_on_host_down"))
            let both: HostView = try await set(
                #"{"auto_migrate_on_host_down": "enable", "auto_migrate_on_host_shutdown": "enable"}"#
            ).decode()
            #expect(both.autoMigrateOnHostDown && both.autoMigrateOnHostShutdown)
            #expect(try await set(#"{"auto_migrate_on_host_down": "disable"}"#).status == 400)
            let none: HostView = try await set(
                #"{"auto_migrate_on_host_down": "disable", "auto_migrate_on_host_shutdown": "disable"}"#
            ).decode()
            #expect(!none.autoMigrateOnHostDown && !none.autoMigrateOnHostShutdown)
            #expect(
                try await fixture.ask(.post, "/v1/hosts/none/auto-migrate-on-host-down", #"{"auto_migrate_on_host_down": "enable"}"#).status
                    == 404)
        }
    }

    @Test func `a guard is given lease after lease, and confirms once`() async throws {
        try await Fixture.with(hosts: ["host1"]) { fixture in
            try await guarded(fixture, "host1")
            let host = try await fixture.store.host("host1")
            #expect(host.guardian.isConfirmed)
            await fixture.controller.watch.look(at: host)
            let orders = await fixture.fleet["host1"].guardOrders
            #expect(orders.map(\.number) == [1, 2] && orders.allSatisfy { $0.untilMS == 1000 + GuardTiming.standardLeaseMS })
            #expect(try await (fixture.ask(.get, "/v1/hosts/host1").decode() as HostView).guardian == .confirmed)
            // The guard goes.
            await fixture.fleet["host1"].change { $0.guardian?.state = .absent }
            await fixture.controller.watch.look(at: host)
            #expect(await fixture.fleet["host1"].guardOrders.last == GuardOrder(number: 3, bootID: "b", untilMS: nil))
            let view: HostView = try await fixture.ask(.get, "/v1/hosts/host1").decode()
            #expect(view.guardian == .absent)
        }
    }

    @Test func `a store that knows nothing of an order has not given it`() async throws {
        try await Fixture.with(hosts: ["host1"]) { fixture in
            try await guarded(fixture, "host1")
            let host = try await fixture.store.host("host1")
            await fixture.store.database.close()
            await fixture.controller.watch.look(at: host)
            #expect(await fixture.fleet["host1"].guardOrders.map(\.number) == [1])
            #expect(
                !fixture.controller.watch.isSilent(host.id), "the host answered: it is not for want of a store that it is taken for dead")
        }
    }

    @Test func `a controller that saw the lease end starts nothing before that is certain, and takes no silence of its own for a host's`()
        async throws
    {
        try await Fixture.with { fixture in
            try await guarded(fixture, "host1")
            let host = try await fixture.store.host("host1")
            var facts = HostFacts.sample()
            facts.boot = BootTime(bootID: "b", milliseconds: 1000)
            facts.guardian = GuardReport(state: .serving, number: host.guardian.number, isArmed: true)
            try await fixture.store.recordHealth(of: host.id, facts: facts, validForMS: 0)
            try await fixture.controller.down.look()
            #expect(try await fixture.store.host("host1").downNote == nil, "it was not asked lately")
            await fixture.fleet["host1"].fail("host", with: silence)
            await fixture.controller.watch.look(at: host)
            try await fixture.controller.down.look()
            #expect(try await fixture.store.host("host1").downNote?.contains("until that is certain") == true)
            #expect(try await fixture.store.migrations(MigrationFilter()).isEmpty)
        }
    }

    @Test func `a host that is not guarded is told of`() async throws {
        try await Fixture.with { fixture in
            _ = try await fixture.ask(.post, Self.path, #"{"auto_migrate_on_host_down": "enable"}"#)
            let host = try await fixture.store.host("host1")
            try await fixture.store.recordHealth(of: host.id, facts: .sample(), validForMS: 0)
            await fixture.fleet["host1"].fail("host", with: silence)
            await fixture.controller.watch.look(at: host)
            #expect(fixture.controller.watch.isSilent(host.id))
            try await fixture.controller.down.look()
            let view: HostView = try await fixture.ask(.get, "/v1/hosts/host1").decode()
            #expect(view.downNote?.contains("nothing proves it dead") == true)
            #expect(try await fixture.store.migrations(MigrationFilter()).isEmpty)
            await fixture.fleet["host1"].fail("host", with: nil)
            await fixture.controller.watch.look(at: host)
            #expect(try await fixture.store.host("host1").downNote == nil)
        }
    }

    @Test func `a server whose guest the guard ended is started again once the host may`() async throws {
        try await Fixture.with(hosts: ["host1"]) { fixture in
            let server = try await fixture.server("web1", running: true)
            try await guarded(fixture, "host1")
            let (host, agent) = (try await fixture.store.host("host1"), fixture.fleet["host1"])
            await agent.end(ServerID(server.id))
            await agent.change { $0.guardian?.isOver = true }
            await agent.fail("guard", with: silence)
            await fixture.controller.watch.look(at: host)
            #expect(try await fixture.store.server("web1").status == .running, "not while the lease is over")
            await agent.fail("guard", with: nil)
            await fixture.controller.watch.look(at: host)
            await fixture.controller.watch.look(at: host)
            let now = try await fixture.store.server("web1")
            #expect(now.status == .starting && now.epoch.value > server.epoch)
            #expect(try await fixture.store.claimOperations(owner: "c2", leaseMS: 60_000, limit: 5).map(\.id) == [now.id])
        }
    }
}
