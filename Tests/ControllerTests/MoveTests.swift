import Client
import Fleet
import Foundation
import Hummingbird
import Store
import Testing

@testable import Controller

/// Cold migrations and rescues, and what may be asked of a migration under way.
struct MoveTests {
    /// A server on a shared storage, and its host down.
    private func lost(_ fixture: Fixture, _ name: String, storage: String = "pool", running: Bool = true) async throws {
        let disks = #"[{"size_bytes": 1048576, "storage": "\#(storage)"}]"#
        let body = #"{"name": "\#(name)", "memory_mb": 64, "prefer_host": "host1", "disks": \#(disks)}"#
        #expect(try await fixture.ask(.post, "/v1/servers", body).status == 201)
        if running { #expect(try await fixture.ask(.post, "/v1/servers/\(name)/start").status == 200) }
    }

    private func down(_ fixture: Fixture) async throws {
        let host = try await fixture.store.host("host1")
        try await fixture.store.recordHealth(of: host.id, facts: try #require(host.facts), validForMS: 0)
    }

    @Test func `a cold migration is accepted with all that was asked for`() async throws {
        try await Fixture.with { fixture in
            try await fixture.server("web1")
            let reply = try await fixture.ask(
                .post, "/v1/servers/web1/migrate",
                #"{"prefer_host": "host2", "auto_start": true, "max_bandwidth_mb": 100, "enable_tls": true, "stall_timeout_s": 9, "timeout_s": 99, "priority": -7}"#
            )
            #expect(reply.status == 202, "\(reply.text)")
            let migration: MigrationView = try reply.decode()
            #expect((migration.mode, migration.state, migration.priority) == (.cold, .pending, -7))
            let options = migration.options
            #expect((options.preferHost?.name, options.autoStart, options.enableTLS) == ("host2", true, true))
            #expect((options.maxBandwidthMB, options.stallTimeoutS, options.timeoutS) == (100, 9, 99))
            let shown: ServerView = try await fixture.ask(.get, "/v1/servers/web1").decode()
            #expect(shown.status == .startMigrate)
        }
    }

    @Test func `every option of a live migration arrives in its row`() async throws {
        try await Fixture.with { fixture in
            try await fixture.server("web1", running: true)
            let body = """
                {"max_bandwidth_mb": 5, "cpu_check": "features", "skip_kernel_check": true, "enable_tls": true, "quickly_finish": true,
                 "max_downtime_ms": 800, "auto_converge": false, "multifd": 4, "keep_dest_guest_on_failed": true,
                 "eject_cdrom": true, "stall_timeout_s": 30, "timeout_s": 600, "priority": 100}
                """
            let migration: MigrationView = try await fixture.ask(.post, "/v1/servers/web1/live-migrate", body).decode()
            let asked = MigrationOptions(
                maxBandwidthMB: 5, cpuCheck: .features, skipKernelCheck: true, enableTLS: true, quicklyFinish: true, maxDowntimeMS: 800,
                autoConverge: false, multifd: 4, keepDestGuestOnFailed: true, ejectCDROM: true, stallTimeoutS: 30,
                timeoutS: 600)
            #expect(try await fixture.store.migration(migration.id).options == asked)
            #expect(migration.options == OptionsView(asked))
            #expect(migration.priority == 100)
        }
    }

    @Test func `without quickly-finish the longest downtime asked for is the limit itself`() async throws {
        try await Fixture.with { fixture in
            try await fixture.server("web1", running: true)
            let migration: MigrationView = try await fixture.ask(.post, "/v1/servers/web1/live-migrate", #"{"max_downtime_ms": 80}"#)
                .decode()
            #expect(migration.options.downtimeLimitMS == 80)
        }
    }

    @Test func `a rescue needs a host that is down, shared disks, and somebody's word`() async throws {
        try await Fixture.with { fixture in
            try await lost(fixture, "shared")
            try await lost(fixture, "local", storage: "local")
            try await lost(fixture, "off", running: false)
            try await down(fixture)
            let before = try await fixture.snapshot()

            let unconfirmed = try await fixture.ask(.post, "/v1/servers/shared/migrate", #"{"rescue_mode": true}"#)
            #expect(unconfirmed.status == 409)
            #expect(try unconfirmed.problem.code == "host-not-down")
            #expect(try unconfirmed.problem.field == "confirm_host_down")
            #expect(try unconfirmed.problem.detail.contains("--confirm-host-down"))

            let body = #"{"rescue_mode": true, "confirm_host_down": true}"#
            let local = try await fixture.ask(.post, "/v1/servers/local/migrate", body)
            #expect(try local.problem.code == "local-disk")
            #expect(try local.problem.detail.contains("The disk disk0 of the server local is on the storage local"))
            #expect(try local.problem.field == "rescue_mode")

            let cold = try await fixture.ask(.post, "/v1/servers/shared/migrate")
            #expect(try cold.problem.detail.contains("its host host1 does not answer: wait for it, or use rescue_mode"))
            #expect(try await fixture.snapshot() == before)

            let started = #"{"rescue_mode": true, "confirm_host_down": true, "auto_start": true, "prefer_host": "host2"}"#
            let rescue = try await fixture.ask(.post, "/v1/servers/shared/migrate", started)
            #expect(rescue.status == 202, "\(rescue.text)")
            let migration: MigrationView = try rescue.decode()
            #expect((migration.mode, migration.options.autoStart, migration.options.confirmHostDown) == (.rescue, true, true))
            #expect(try await fixture.ask(.post, "/v1/servers/off/migrate", body).status == 202)
        }
    }

    @Test func `a migration that nobody has begun is cancelled at once, one under way when its worker sees it`() async throws {
        try await Fixture.with { fixture in
            try await fixture.server("web1", running: true)
            try await fixture.server("web2", running: true)
            let first: MigrationView = try await fixture.ask(.post, "/v1/servers/web1/live-migrate").decode()
            let reply = try await fixture.ask(.post, "/v1/servers/web1/cancel-live-migrate")
            #expect(reply.status == 202)
            let cancelled: MigrationView = try reply.decode()
            #expect((cancelled.id, cancelled.state, cancelled.reason?.code) == (first.id, .failed, .cancelled))
            let server: ServerView = try await fixture.ask(.get, "/v1/servers/web1").decode()
            #expect((server.status, server.migration) == (.running, nil))
            let again = try await fixture.ask(.post, "/v1/servers/web1/cancel-live-migrate")
            #expect(try again.problem.code == "not-migrating")
            #expect(try await fixture.ask(.post, "/v1/migrations/\(first.id)/cancel").problem.code == "finished")

            let second: MigrationView = try await fixture.ask(.post, "/v1/servers/web2/live-migrate").decode()
            try await fixture.work { ($0.state, $0.attempt) = (.scheduling, 1) }
            let asked: MigrationView = try await fixture.ask(.post, "/v1/migrations/\(second.id.prefix(13))/cancel").decode()
            #expect(asked.cancelRequested && asked.state == .scheduling)
            let twice = try await fixture.ask(.post, "/v1/servers/web2/cancel-live-migrate")
            #expect(twice.status == 202, "to ask again is no mistake")
            let history: Page<TransitionView> = try await fixture.ask(.get, "/v1/migrations/\(second.id)/history").decode()
            #expect(history.items.filter { $0.reason?.code == .cancelRequested }.map(\.actor) == ["alice"])
        }
    }

    @Test func `a cold migration is no live one, but can be cancelled by its id`() async throws {
        try await Fixture.with { fixture in
            try await fixture.server("web1")
            let cold: MigrationView = try await fixture.ask(.post, "/v1/servers/web1/migrate").decode()
            let refused = try await fixture.ask(.post, "/v1/servers/web1/cancel-live-migrate")
            #expect(refused.status == 409)
            #expect(try refused.problem.code == "not-live")
            #expect(try refused.problem.detail.contains("migration-cancel \(cold.id)"))
            #expect(try await fixture.ask(.post, "/v1/migrations/\(cold.id)/cancel").status == 202)
            #expect(try await fixture.store.server("web1").status == .ready)
        }
    }

    @Test func `parameters are set in flight, told in the history, and refused where they have no meaning`() async throws {
        try await Fixture.with { fixture in
            try await fixture.server("web1", running: true)
            let migration: MigrationView = try await fixture.ask(
                .post, "/v1/servers/web1/live-migrate", #"{"max_bandwidth_mb": 100}"#
            ).decode()
            func set(_ body: String) async throws -> Fixture.Reply {
                try await fixture.ask(.post, "/v1/servers/web1/set-live-migrate-params", body)
            }
            let changed: MigrationView = try await set(#"{"downtime_limit_ms": 50}"#).decode()
            #expect((changed.id, changed.options.maxBandwidthMB, changed.options.downtimeLimitMS) == (migration.id, 100, 50))
            let lifted: MigrationView = try await set(#"{"max_bandwidth_mb": 0}"#).decode()
            #expect(lifted.options.maxBandwidthMB == nil)
            let history: Page<TransitionView> = try await fixture.ask(.get, "/v1/migrations/\(migration.id)/history").decode()
            let told = history.items.filter { $0.reason?.code == .parametersSet }
            #expect(told.map(\.actor) == ["alice", "alice"])

            try await fixture.server("off")
            #expect(try await fixture.ask(.post, "/v1/servers/off/migrate").status == 202)
            let cold = try await fixture.ask(.post, "/v1/servers/off/set-live-migrate-params", #"{"downtime_limit_ms": 50}"#)
            #expect(cold.status == 409)
            #expect(try cold.problem.detail.contains("cold"))
        }
    }
}

struct ListingTests {
    @Test func `servers are listed page by page, filtered and ordered`() async throws {
        try await Fixture.with { fixture in
            for name in ["vm1", "vm2", "web"] { try await fixture.server(name, running: name == "vm2") }
            func page(_ query: String) async throws -> Page<ServerView> { try await fixture.ask(.get, "/v1/servers?\(query)").decode() }
            #expect(try await page("").items.count == 3)
            let first = try await page("limit=2&order_by=name")
            #expect((first.items.map(\.name), first.total) == (["vm1", "vm2"], 3))
            #expect(try await page("limit=2&offset=2&order_by=name").items.map(\.name) == ["web"])
            #expect(try await page("order_by=name&order=desc").items.map(\.name) == ["web", "vm2", "vm1"])
            #expect(try await page("search=VM&order_by=name").items.map(\.name) == ["vm1", "vm2"])
            #expect(try await page("filter=status.equals(running)").items.map(\.name) == ["vm2"])
            #expect(try await page("filter=name.contains(vm)&filter=status%3Dready").items.map(\.name) == ["vm1"])
            let any = try await page("filter=name%3Dweb&filter=status%3Drunning&filter_any=true&order_by=name")
            #expect(any.items.map(\.name) == ["vm2", "web"])
            let none = try await page("filter=name%3Dnothing&limit=20")
            #expect(none.items.isEmpty && none.total == 0)
            let id = try await fixture.store.server("web").id.value
            let shown: ServerView = try await fixture.ask(.get, "/v1/servers/\(id.prefix(8))").decode()
            #expect(shown.name == "web")
        }
    }

    @Test func `hosts are listed by what they are and have`() async throws {
        try await Fixture.with { fixture in
            try await fixture.server("vm1", running: true)
            #expect(try await fixture.ask(.post, "/v1/hosts", #"{"name": "host3", "agent_url": "https://h3:1"}"#).status == 201)
            await fixture.controller.watch.look(at: try await fixture.store.host("host1"))
            func page(_ query: String) async throws -> Page<HostView> { try await fixture.ask(.get, "/v1/hosts?\(query)").decode() }
            let all = try await page("")
            #expect(all.items.map(\.name) == ["host1", "host2", "host3"])
            #expect(all.items.map(\.condition) == [.running, .running, .initial])
            #expect(all.items.map(\.status) == [.online, .online, .offline])
            #expect(all.items.map(\.runningGuests) == [1, 0, nil])
            #expect(try await page("hypervisor=kvm").total == 3)
            #expect(try await page("hypervisor=esxi").total == 0)
            #expect(try await page("host_status=offline").items.map(\.name) == ["host3"])
            #expect(try await page("search=HOST2").items.map(\.name) == ["host2"])
            #expect(try await page("order=desc&limit=1").items.map(\.name) == ["host3"])
            #expect(try await page("filter=running_guests.ge(1)").items.map(\.name) == ["host1"])
        }
    }

    @Test func `migrations are counted where that is cheap, and sifted page by page`() async throws {
        try await Fixture.with { fixture in
            var ids: [String] = []
            for number in 1...5 {
                try await fixture.server("vm\(number)", running: number != 2)
                let reply = try await fixture.ask(.post, "/v1/servers/vm\(number)/\(number == 2 ? "migrate" : "live-migrate")")
                ids.append(try reply.decode(MigrationView.self).id)
            }
            func page(_ query: String) async throws -> Page<MigrationView> {
                try await fixture.ask(.get, "/v1/migrations?\(query)").decode()
            }
            func listed(_ query: String) async throws -> [String] { try await page(query).items.map(\.id) }
            let first = try await page("limit=2")
            #expect((first.items.map(\.id), first.total, first.next) == ([ids[4], ids[3]], 5, ids[3]))
            #expect(try await page("limit=2&before=\(ids[3])").total == 5, "of all pages")
            #expect(try await page("limit=5").next == nil, "a full page that is the last has no next")
            #expect(try await listed("limit=2&offset=1") == [ids[3], ids[2]])
            #expect(try await listed("order=asc&limit=2") == [ids[0], ids[1]])
            #expect(try await listed("order_by=created_at&limit=1") == [ids[0]])
            #expect(try await listed("mode=cold") == [ids[1]])
            let sifted = try await page("filter=server.in(vm1,vm3,vm4)&limit=2")
            #expect((sifted.items.map(\.id), sifted.next, sifted.total) == ([ids[3], ids[2]], ids[2], nil))
            let rest = try await page("filter=server.in(vm1,vm3,vm4)&limit=2&before=\(ids[2])")
            #expect((rest.items.map(\.id), rest.next) == ([ids[0]], nil))
            #expect(try await page("search=vm3").total == 1)
            #expect(try await listed("search=VM3") == [ids[2]])
        }
    }
}
