import AgentAPI
import Client
import Fleet
import Foundation
import HTTPTypes
import SQL
import Store
import Testing

@testable import Controller

/// What `doctor` finds and mends, as the API tells it.
struct DoctorTests {
    private func examine(_ fixture: Fixture, fix: Bool = false) async throws -> [FindingView] {
        let reply = try await fix ? fixture.ask(.post, "/v1/diagnosis/fix") : fixture.ask(.get, "/v1/diagnosis")
        guard reply.status == 200 else { throw try reply.problem }
        return try reply.decode(DiagnosisView.self).findings
    }

    @Test func `a fleet that fits together has no findings, and takes no part of a query or body`() async throws {
        try await Fixture.with { fixture in
            try await fixture.server("web1", running: true)
            try await fixture.server("web2")
            #expect(try await examine(fixture) == [])
            #expect(try await examine(fixture, fix: true) == [])
            #expect(try await fixture.ask(.get, "/v1/diagnosis?fix=1").problem.status == 400)
            #expect(try await fixture.ask(.post, "/v1/diagnosis/fix", #"{"x": 1}"#).problem.status == 400)
        }
    }

    @Test func `a status is set right, once, and told`() async throws {
        try await Fixture.with { fixture in
            let server = try await fixture.server("web1", running: true)
            await fixture.fleet["host1"].set(ServerID(server.id), .stopped)
            let found = try #require(try await examine(fixture).first)
            #expect(found.kind == "server-without-guest" && found.isFixable && !found.isFixed && found.outcome == nil)
            #expect(try await fixture.store.server("web1").status == .running, "looking changes nothing")
            let mended = try await examine(fixture, fix: true)
            #expect(mended.map(\.isFixed) == [true] && mended.first?.outcome?.contains("web1 is ready") == true)
            #expect(try await fixture.store.server("web1").status == .ready)
            #expect(try await examine(fixture) == [])
        }
    }

    @Test func `an agent that gives no answer is told with its reason`() async throws {
        try await Fixture.with { fixture in
            await fixture.fleet["host2"].fail("inventory", with: AgentProblem(.unreachable, .tlsRefused, "the certificate has expired"))
            let found = try await examine(fixture, fix: true)
            #expect(found.map(\.kind) == ["host-silent"])
            #expect(found.first?.message.contains("the certificate has expired") == true)
            #expect(found.first?.isFixed == false)
        }
    }

    @Test func `what a failed attempt left is given to the workers, under its migration's history`() async throws {
        try await Fixture.with { fixture in
            let (store, server) = (fixture.store, ServerID(try await fixture.server("web1").id))
            let answer = try await fixture.ask(.post, "/v1/servers/web1/migrate")
            let migration = MigrationID(try answer.decode(MigrationView.self).id)
            _ = try await fixture.ask(.post, "/v1/migrations/\(migration)/cancel")
            #expect(try await store.migration(migration.value).state == .failed)
            let end = GuestBook.End(key: AttemptKey(migration: migration, attempt: 1), end: .target, isGivenUp: true)
            await fixture.fleet["host2"].tells(
                Inventory(clock: .now, guests: [GuestBook(server: server, epoch: Epoch(2), tenure: .awaited, ends: [end])]))
            let mended = try await examine(fixture, fix: true)
            #expect(mended.map(\.isFixed) == [true])
            let cleanup = try #require(try await store.cleanups().first)
            #expect(cleanup.kind == .target && cleanup.migration == migration && cleanup.attempt == 1)
            #expect(try await store.hosts().first { $0.id == cleanup.host }?.name == "host2")
            let row = try await store.history(HistoryFilter(migration: migration), limit: 1).first
            #expect(row?.reason?.code == .cleanupOrdered && row?.actor == "alice" && row?.step == "doctor" && row?.to == .failed)
            #expect(try await examine(fixture) == [], "with a cleanup it is no finding")
            #expect(try await store.verifyHistory().flaws.isEmpty, "a row more, chained like any other")
        }
    }

    @Test func `files are cleared by an order of the server's present epoch`() async throws {
        try await Fixture.with { fixture in
            let server = try await fixture.server("web1")
            let entry = StorageEntry(storage: "local", kind: .local, name: server.id, path: "/disks/\(server.id)", bytes: 1)
            await fixture.fleet["host2"].tells(
                Inventory(clock: .now, guests: [GuestBook(server: ServerID(server.id), epoch: Epoch(1), tenure: .none)], entries: [entry]))
            let mended = try await examine(fixture, fix: true)
            #expect(mended.map(\.isFixed) == [true])
            #expect(await fixture.fleet["host2"].orders == ["clear \(server.id) \(server.epoch)"])
            await fixture.fleet["host2"].fail("clear", with: AgentProblem(.conflict, .invalidRequest, "it is lent"))
            let refused = try await examine(fixture, fix: true)
            #expect(refused.map(\.isFixed) == [false] && refused.first?.outcome?.contains("it is lent") == true)
        }
    }
}
