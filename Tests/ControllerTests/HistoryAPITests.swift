import Client
import Fleet
import Hummingbird
import Testing

@testable import Controller

@Suite struct HistoryAPITests {
    @Test func `the history is read page by page and by what is asked for`() async throws {
        try await Fixture.with { fixture in
            for name in ["web1", "web2", "web3"] {
                try await fixture.server(name, running: true)
                #expect(try await fixture.ask(.post, "/v1/servers/\(name)/live-migrate").status == 202)
            }
            let first: Page<TransitionView> = try await fixture.ask(.get, "/v1/history?limit=2").decode()
            #expect(first.items.map(\.server.name) == ["web3", "web2"])
            let next = try #require(first.next)
            let second: Page<TransitionView> = try await fixture.ask(.get, "/v1/history?limit=2&after=\(next)").decode()
            #expect(second.items.map(\.server.name) == ["web1"] && second.next == nil)
            let oldest: Page<TransitionView> = try await fixture.ask(.get, "/v1/history?order=asc&server=web2").decode()
            #expect(oldest.items.map(\.to) == [.pending] && oldest.items.first?.mode == .live)
            for empty in [
                "host=host2", "state=ready", "mode=cold", "reason=target-lost", "actor=nobody", "until=2020-01-01T00:00:00Z",
                "since=2999-01-01T00:00:00Z",
            ] {
                let page: Page<TransitionView> = try await fixture.ask(.get, "/v1/history?\(empty)").decode()
                #expect(page.items.isEmpty, "\(empty)")
            }
            let found: VerificationView = try await fixture.ask(.get, "/v1/history/verification").decode()
            #expect(found.migrations == 3 && found.rows == 3 && found.flaws == [])
            let one: VerificationView = try await fixture.ask(
                .get, "/v1/history/verification?migration=\(try #require(second.items.first).migration)"
            ).decode()
            #expect(one.migrations == 1)
            let none: Page<StatisticsView> = try await fixture.ask(.get, "/v1/history/statistics?by=day,reason").decode()
            #expect(none.items == [])
        }
    }

    @Test(arguments: [
        ("history?limit=0", "limit"), ("history?order=up", "order"), ("history?order=asc,desc", "order"), ("history?after=x", "after"),
        ("history?since=yesterday", "since"), ("history?state=gone", "state"), ("history?mode=warm", "mode"),
        ("history/prunable", "finished_before"), ("history/prunable?keep=1&finished_before=2026-01-01T00:00:00Z", "keep"),
        ("history/prunable?keep=-1", "keep"), ("migrations?since=1", "since"), ("migrations?order_by=mode", "order_by"),
        ("history/statistics?by=colour", "by"), ("history/statistics?by=day,day", "by"), ("history/statistics?until=1", "until"),
    ])
    func `what cannot be asked is refused by the parameter's name`(path: String, field: String) async throws {
        try await Fixture.with(hosts: []) { fixture in
            let reply = try await fixture.ask(.get, "/v1/\(path)")
            #expect(reply.status == 400)
            #expect(try reply.problem.field == field)
        }
    }

    @Test func `what is not known is not found`() async throws {
        try await Fixture.with(hosts: []) { fixture in
            for query in ["server=nosuch", "host=nosuch", "migration=abcdef01"] {
                let reply = try await fixture.ask(.get, "/v1/history?\(query)")
                #expect(reply.status == 404, "\(query)")
            }
        }
    }

    @Test func `what was archived goes, a mark stays, and nothing else goes`() async throws {
        try await Fixture.with { fixture in
            for name in ["web1", "web2"] {
                try await fixture.server(name, running: true)
                let migration: MigrationView = try await fixture.ask(.post, "/v1/servers/\(name)/live-migrate").decode()
                // Nobody has claimed it: it ends at once.
                if name == "web1" { #expect(try await fixture.ask(.post, "/v1/migrations/\(migration.id)/cancel").status == 202) }
            }
            let page: Page<PrunableView> = try await fixture.ask(.get, "/v1/history/prunable?keep=0").decode()
            let one = try #require(page.items.first)
            #expect(page.items.count == 1 && one.rows == 2 && page.next == nil)
            let path = "/v1/migrations/\(one.migration)/prune-history"
            let (rows, last) = (one.rows, one.lastSequence)
            let wrong = try await fixture.ask(.post, path, #"{"rows": 1, "last_sequence": \#(last), "archive": "a"}"#)
            #expect(wrong.status == 409)
            for body in ["{}", #"{"rows": 2, "archive": "a"}"#, #"{"rows": 2, "last_sequence": 5}"#] {
                let reply = try await fixture.ask(.post, path, body)
                #expect(reply.status == 400, "\(body)")
            }
            let mark: TransitionView = try await fixture.ask(
                .post, path, #"{"rows": \#(rows), "last_sequence": \#(last), "archive": "a.jsonl"}"#
            ).decode()
            #expect(mark.reason?.code == .historyPruned && mark.actor == "alice" && mark.hash?.utf8.count == 64)
            let left: Page<TransitionView> = try await fixture.ask(.get, "/v1/migrations/\(one.migration)/history").decode()
            #expect(left.items == [mark])
            let found: VerificationView = try await fixture.ask(.get, "/v1/history/verification").decode()
            #expect(found.flaws == [] && found.pruned == 2)
            let none: Page<PrunableView> = try await fixture.ask(.get, "/v1/history/prunable?keep=0").decode()
            #expect(none.items == [])
            let ended: Page<MigrationView> = try await fixture.ask(
                .get, "/v1/migrations?order_by=finished_at&reason=cancelled&actor=alice&since=2020-01-01T00:00:00Z"
            ).decode()
            #expect(ended.items.map(\.id) == [one.migration])
        }
    }
}
