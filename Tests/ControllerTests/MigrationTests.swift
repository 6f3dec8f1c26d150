import Client
import Fleet
import Foundation
import Hummingbird
import Store
import Testing

@testable import Controller

struct MigrationTests {
    @Test func `a live migration is accepted with all that was asked for`() async throws {
        try await Fixture.with { fixture in
            let server = try await fixture.server("web1", running: true)
            let reply = try await fixture.ask(
                .post, "/v1/servers/web1/live-migrate",
                #"{"prefer_host": "host2", "max_bandwidth_mb": 100, "skip_cpu_check": true, "skip_kernel_check": true, "enable_tls": false}"#
            )
            #expect(reply.status == 202, "\(reply.text)")
            let migration: MigrationView = try reply.decode()
            #expect((migration.state, migration.mode, migration.direction, migration.attempt) == (.pending, .live, .forward, 0))
            #expect((migration.server.name, migration.sourceHost.name, migration.actor) == ("web1", "host1", "alice"))
            #expect(migration.options.preferHost?.name == "host2")
            #expect(migration.options.maxBandwidthMB == 100)
            #expect(migration.options.skipCPUCheck && migration.options.skipKernelCheck)
            #expect(migration.options.downtimeLimitMS == 300)
            #expect(migration.targetHost == nil && migration.finishedAt == nil && migration.totalMS == nil)

            let row = try await fixture.store.migration(migration.id)
            #expect(row.options.preferHost == (try await fixture.store.host("host2").id))
            let shown: ServerView = try await fixture.ask(.get, "/v1/servers/web1").decode()
            #expect((shown.status, shown.migration) == (.startMigrate, migration.id))
            let listed: Page<ServerView> = try await fixture.ask(.get, "/v1/servers").decode()
            #expect(listed.items.first?.migration == migration.id)

            let second = try await fixture.ask(.post, "/v1/servers/\(server.id)/live-migrate")
            #expect(second.status == 409)
            #expect(try second.problem.code == "busy")
            let all: Page<MigrationView> = try await fixture.ask(.get, "/v1/migrations").decode()
            #expect(all.items.map(\.id) == [migration.id])
        }
    }

    @Test func `migrations are listed by server, host and state, and page by page`() async throws {
        try await Fixture.with { fixture in
            var ids: [String] = []
            for number in 1...5 {
                try await fixture.server("vm\(number)", host: number == 5 ? "host2" : "host1", running: true)
                let reply = try await fixture.ask(.post, "/v1/servers/vm\(number)/live-migrate")
                ids.append(try reply.decode(MigrationView.self).id)
            }
            func page(_ query: String) async throws -> Page<MigrationView> {
                try await fixture.ask(.get, "/v1/migrations?\(query)").decode()
            }
            #expect(try await page("").items.map(\.id) == ids.reversed())
            #expect(try await page("server=vm2").items.map(\.id) == [ids[1]])
            #expect(try await page("host=host2").items.map(\.id) == [ids[4]])
            #expect(try await page("state=ready,failed").items.isEmpty)
            #expect(try await page("state=pending,scheduling&host=host1").items.count == 4)
            let first = try await page("limit=2")
            #expect(first.items.map(\.id) == [ids[4], ids[3]])
            let second = try await page("limit=2&before=\(first.next ?? "")")
            #expect(second.items.map(\.id) == [ids[2], ids[1]])
            let third = try await page("limit=2&before=\(second.next ?? "")")
            #expect(third.items.map(\.id) == [ids[0]])
            #expect(third.next == nil)
            let unknown = try await fixture.ask(.get, "/v1/migrations?before=nosuch")
            #expect(try unknown.status == 404 && unknown.problem.field == "before")
        }
    }

    @Test func `a migration is told with its history, its progress and its end`() async throws {
        try await Fixture.with { fixture in
            try await fixture.server("web1", running: true)
            let submitted: MigrationView = try await fixture.ask(.post, "/v1/servers/web1/live-migrate").decode()
            try await fixture.work { migration in
                migration.state = .scheduling
                migration.attempt = 1
            }
            try await fixture.work { migration in
                migration.state = .failed
                migration.reason = Reason(.noHost, "host2 has another CPU")
                migration.finishedAt = .now
            }
            let shown: MigrationView = try await fixture.ask(.get, "/v1/migrations/\(submitted.id.prefix(13))").decode()
            #expect((shown.id, shown.state, shown.reason?.code) == (submitted.id, .failed, .noHost))
            #expect(shown.finishedAt != nil)
            #expect((shown.totalMS ?? -1) >= 0)
            let history: Page<TransitionView> = try await fixture.ask(.get, "/v1/migrations/\(submitted.id)/history").decode()
            #expect(history.items.map(\.to) == [.pending, .scheduling, .failed])
            #expect(history.items.map(\.actor) == ["alice", "w1", "w1"])
            #expect(history.items.last?.reason?.message == "host2 has another CPU")
            #expect(history.items[0].at <= history.items[2].at)
            let cleanups: Page<CleanupView> = try await fixture.ask(.get, "/v1/cleanups").decode()
            #expect(cleanups.items.isEmpty)
        }
    }
}

extension Fixture {
    /// What a worker would write to the only unfinished migration, with a history row where its state changes.
    func work(_ change: (inout Migration) -> Void) async throws {
        try await Self.work(store, change)
    }

    static func work(_ store: Store, _ change: (inout Migration) -> Void) async throws {
        let claimed = try await store.claimMigrations(worker: "w1", leaseMS: 60_000, limit: 1).first
        let unfinished = Set(MigrationState.allCases.filter { !$0.isFinished })
        let listed = try await store.migrations(MigrationFilter(states: unfinished, limit: 1)).first
        guard var migration = claimed ?? listed else { throw TimedOut(description: "no migration to work at") }
        let from = migration.state
        change(&migration)
        var written = MigrationChange(migration)
        if migration.state != from {
            written.history = MigrationChange.HistoryNote(from: from, actor: "w1", reason: migration.reason)
        }
        if migration.state.isFinished {
            written.releaseLease = true
            written.serverStatus = .running
        }
        try await store.apply(written, worker: "w1")
    }
}
