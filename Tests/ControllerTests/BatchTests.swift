import Client
import Fleet
import Foundation
import Hummingbird
import Store
import Testing

@testable import Controller

struct BatchTests {
    @Test func `a batch is taken whole and shown by its counts`() async throws {
        try await Fixture.with { fixture in
            try await fixture.server("web1", running: true)
            try await fixture.server("off1")
            let body = """
                {"name": "night", "servers": ["off1", "web1"], "priority": 5, "max_parallel": 3, "max_failures": "50%", "token": "t1",
                 "live": {"prefer_host": "host2", "max_bandwidth_mb": 40}, "cold": {"prefer_host": "host2", "auto_start": true}}
                """
            let reply = try await fixture.ask(.post, "/v1/batches", body)
            #expect(reply.status == 201, "\(reply.text)")
            let batch: BatchView = try reply.decode()
            #expect((batch.name, batch.status, batch.total, batch.actor) == ("night", .pending, 2, "alice"))
            #expect((batch.priority, batch.maxParallel, batch.maxFailures, batch.mode) == (5, 3, .percent(50), .auto))
            #expect(batch.states == ["pending": 2] && batch.lines == [])
            let listed: Page<MigrationView> = try await fixture.ask(.get, "/v1/migrations?batch=night&order=asc").decode()
            #expect(listed.items.map(\.server.name) == ["off1", "web1"])
            #expect(listed.items.map(\.mode) == [.cold, .live])
            #expect(listed.items.map(\.options.preferHost?.name) == ["host2", "host2"])
            #expect(listed.items[0].options.autoStart && listed.items[1].options.maxBandwidthMB == 40)
            #expect(listed.items.allSatisfy { $0.batch == batch.id })

            let rows: Page<TransitionView> = try await fixture.ask(.get, "/v1/history?batch=night&order=asc").decode()
            #expect(rows.items.map(\.migration) == listed.items.map(\.id))
            let figures: Page<StatisticsView> = try await fixture.ask(.get, "/v1/history/statistics?batch=night").decode()
            #expect(figures.items.isEmpty)
            let nowhere = try await fixture.ask(.get, "/v1/history?batch=day")
            #expect(try nowhere.status == 404 && nowhere.problem.field == "batch")

            // The answer was lost, and it is asked again: the same batch, although its servers have changed by then.
            let again = try await fixture.ask(.post, "/v1/batches", body)
            #expect(again.status == 200)
            #expect(try again.decode(BatchView.self).id == batch.id)
            let other = try await fixture.ask(.post, "/v1/batches", #"{"servers": ["web1"], "token": "t1"}"#)
            #expect(other.status == 409)
            #expect(try other.problem.code == "token-taken")
            let shown: BatchView = try await fixture.ask(.get, "/v1/batches/\(batch.id.prefix(8))").decode()
            #expect(shown.id == batch.id)
            let page: Page<BatchView> = try await fixture.ask(.get, "/v1/batches?status=pending,paused&search=nig").decode()
            #expect(page.items.map(\.id) == [batch.id] && page.items[0].states == nil)
        }
    }

    @Test func `every bad line is named in the problem, and nothing is changed`() async throws {
        try await Fixture.with { fixture in
            try await fixture.server("web1", running: true)
            try await fixture.server("off1")
            let before = try await fixture.snapshot()
            let servers = #""servers": ["web1", "nosuch", "off1", "web1"], "mode": "live""#
            let refused = try await fixture.ask(.post, "/v1/batches", "{\(servers)}")
            #expect(refused.status == 422)
            let problem = try refused.problem
            #expect((problem.code, problem.field) == ("invalid-lines", "servers"))
            #expect(problem.detail.contains("3 of 4 lines cannot be taken") && problem.detail.contains("--skip-invalid"))
            #expect(problem.lines?.map(\.line) == [2, 3, 4])
            #expect(problem.lines?.map(\.id) == ["nosuch", "off1", "web1"])
            #expect(problem.lines?.map(\.reason.code) == ["not-found", "wrong-status", "duplicate"])
            #expect(try await fixture.snapshot() == before)
            #expect(try await fixture.ask(.get, "/v1/batches").decode(Page<BatchView>.self).items.isEmpty)
            let taken: BatchView = try await fixture.ask(.post, "/v1/batches", "{\(servers), \"skip_invalid\": true}").decode()
            #expect((taken.total, taken.skipped, taken.lines?.count) == (1, 3, 3))
        }
    }

    @Test(arguments: [
        (#"{}"#, "servers"), (#"{"servers": []}"#, "servers"), (#"{"servers": ["a"], "selection": {"search": "a"}}"#, "servers"),
        (#"{"servers": [1]}"#, "servers[0]"), (#"{"servers": [""]}"#, "servers[0]"), (#"{"servers": "a"}"#, "servers"),
        (#"{"selection": {}}"#, "selection"), (#"{"selection": {"filter": ["colour=red"]}}"#, "selection.filter"),
        (#"{"selection": {"host": "a"}}"#, "selection.host"), (#"{"selection": {"search": "nobody"}}"#, "selection"),
        (#"{"servers": ["a"], "mode": "rescue"}"#, "mode"), (#"{"servers": ["a"], "priority": 101}"#, "priority"),
        (#"{"servers": ["a"], "max_parallel": 0}"#, "max_parallel"), (#"{"servers": ["a"], "max_failures": "0"}"#, "max_failures"),
        (#"{"servers": ["a"], "max_failures": "101%"}"#, "max_failures"), (#"{"servers": ["a"], "max_failures": 3}"#, "max_failures"),
        (#"{"servers": ["a"], "start_at": "tomorrow"}"#, "start_at"), (#"{"servers": ["a"], "name": "a b"}"#, "name"),
        (#"{"servers": ["a"], "cold": {"rescue_mode": true, "confirm_host_down": true}}"#, "cold.rescue_mode"),
        (#"{"servers": ["a"], "live": {"multifd": 1}}"#, "live.multifd"), (#"{"servers": ["a"], "live": {"what": 1}}"#, "live.what"),
    ])
    func `a bad field is refused by its name`(body: String, field: String) async throws {
        try await Fixture.with { fixture in
            for path in ["/v1/batches", "/v1/batches/plan"] {
                let reply = try await fixture.ask(.post, path, body)
                #expect(reply.status == 400, "\(reply.text)")
                #expect(try reply.problem.field == field, "\(reply.text)")
            }
        }
    }

    @Test func `a preferred host that is not there is told`() async throws {
        try await Fixture.with { fixture in
            let reply = try await fixture.ask(.post, "/v1/batches", #"{"servers": ["a"], "live": {"prefer_host": "host9"}}"#)
            #expect(reply.status == 404)
            #expect(try reply.problem.field == "live.prefer_host")
        }
    }

    @Test func `it is paused, resumed, cancelled and tried again`() async throws {
        try await Fixture.with { fixture in
            for name in ["a", "b"] { try await fixture.server(name, running: true) }
            let batch: BatchView = try await fixture.ask(
                .post, "/v1/batches", #"{"name": "n", "servers": ["a", "b"], "max_parallel": 1}"#
            ).decode()
            let paused: BatchView = try await fixture.ask(.post, "/v1/batches/n/pause").decode()
            #expect((paused.status, paused.pausedBy) == (.paused, "alice"))
            #expect(try await fixture.store.claimMigrations(worker: "w", leaseMS: 1000, limit: 9).isEmpty)
            let resumed: BatchView = try await fixture.ask(.post, "/v1/batches/n/resume").decode()
            #expect(resumed.status == .pending && resumed.pausedBy == nil)
            try await fixture.work { migration in
                migration.state = .failed
                migration.reason = Reason(.noHost, "no host is left")
            }
            let one: BatchView = try await fixture.ask(.get, "/v1/batches/n").decode()
            #expect((one.failed, one.running, one.reasons) == (1, 0, ["no-host": 1]))
            let cancelled = try await fixture.ask(.post, "/v1/batches/n/cancel")
            #expect(cancelled.status == 202)
            let over: BatchView = try cancelled.decode()
            #expect((over.status, over.failed, over.cancelled) == (.cancelled, 1, 1))
            #expect(try await fixture.ask(.post, "/v1/batches/n/pause").problem.code == "wrong-status")
            #expect(try await fixture.ask(.post, "/v1/batches/n/resume").problem.code == "wrong-status")
            let retried = try await fixture.ask(.post, "/v1/batches/n/retry", #"{"token": "r"}"#)
            #expect(retried.status == 201, "\(retried.text)")
            let second: BatchView = try retried.decode()
            #expect((second.name, second.total, second.maxParallel, second.retryOf) == ("n-retry1", 1, 1, batch.id))
            let listed: Page<MigrationView> = try await fixture.ask(.get, "/v1/migrations?batch=\(second.id)").decode()
            #expect(listed.items.map(\.server.name) == ["a"])
            #expect(try await fixture.ask(.post, "/v1/batches/n/retry", #"{"token": "r"}"#).decode(BatchView.self).id == second.id)
            #expect(try await fixture.ask(.post, "/v1/batches/n/retry").problem.code == "nothing-failed")
            #expect(try await fixture.ask(.get, "/v1/batches/nosuch").status == 404)
        }
    }

    @Test func `a selection takes who is meant, by name`() async throws {
        try await Fixture.with { fixture in
            for name in ["b1", "a1", "c2"] { try await fixture.server(name, running: true) }
            try await fixture.server("b2", host: "host2", running: true)
            let body = #"{"selection": {"from_host": "host1", "filter": ["status=running", "name.contains(1)"]}, "token": "s"}"#
            let batch: BatchView = try await fixture.ask(.post, "/v1/batches", body).decode()
            let listed: Page<MigrationView> = try await fixture.ask(.get, "/v1/migrations?batch=\(batch.id)&order=asc").decode()
            #expect(listed.items.map(\.server.name) == ["a1", "b1"])
            // None is selected any more, but the token stands for what was selected then.
            #expect(try await fixture.ask(.post, "/v1/batches", body).decode(BatchView.self).id == batch.id)
        }
    }

    @Test func `a plan tells where each would go, in what order, and who cannot`() async throws {
        try await Fixture.with { fixture in
            for name in ["a", "b", "c"] { try await fixture.server(name, running: true) }
            let before = try await fixture.snapshot()
            let body = #"{"servers": ["c", "nosuch", "a", "b"], "max_parallel": 1}"#
            let plan: BatchPlanView = try await fixture.ask(.post, "/v1/batches/plan", body).decode()
            #expect(plan.moves.map(\.server.name) == ["c", "a", "b"])
            #expect(plan.moves.allSatisfy { $0.sourceHost.name == "host1" && $0.targetHost?.name != "host1" })
            #expect(plan.moves.map(\.wave) == [1, 2, 3])
            #expect(plan.lines.map(\.id) == ["nosuch"])
            #expect(try await fixture.ask(.post, "/v1/hosts/host2/disable").status == 200)
            let stuck: BatchPlanView = try await fixture.ask(
                .post, "/v1/batches/plan", #"{"servers": ["a"], "live": {"prefer_host": "host2"}}"#
            ).decode()
            #expect(stuck.moves.map(\.targetHost) == [nil])
            #expect(stuck.moves[0].reason?.code == .noHost)
            #expect(try await fixture.ask(.post, "/v1/hosts/host2/enable").status == 200)
            #expect(try await fixture.snapshot() == before)
        }
    }
}
