import AgentAPI
import Client
import Fleet
import Foundation
import Hummingbird
import Store
import Testing

@testable import Controller

/// Suspending and resuming by the API, climc's `server-suspend` and `server-resume`.
@Suite(.timeLimit(.minutes(1)))
struct PauseTests {
    private func view(_ fixture: Fixture, _ name: String = "web1") async throws -> ServerView {
        try await fixture.ask(.get, "/v1/servers/\(name)").decode()
    }

    @Test func `a suspended server is shown as suspend, and goes on when resumed`() async throws {
        try await Fixture.with { fixture in
            try await fixture.server("web1", running: true)
            try await fixture.server("web2", running: true)
            let suspended: ServerView = try await fixture.ask(.post, "/v1/servers/web1/suspend").decode()
            #expect(suspended.status == .suspend)
            #expect(suspended.epoch == 3)
            let stored = try await fixture.store.server("web1")
            #expect(stored.status == .running && stored.isPaused)
            #expect(await fixture.fleet["host1"].orders.last == "pause(true) web1 3")
            // Again: nothing is wrong with that.
            #expect(try await fixture.ask(.post, "/v1/servers/web1/suspend").status == 200)

            let names = { (status: String) in
                try await fixture.ask(.get, "/v1/servers?status=\(status)").decode(Page<ServerView>.self).items.map(\.name)
            }
            #expect(try await names("suspend") == ["web1"])
            #expect(try await names("running") == ["web2"])

            let resumed: ServerView = try await fixture.ask(.post, "/v1/servers/web1/resume").decode()
            #expect(resumed.status == .running)
            #expect(try await fixture.store.server("web1").isPaused == false)
        }
    }

    @Test func `what cannot be done with a server in its state is refused, and nothing is changed`() async throws {
        try await Fixture.with { fixture in
            try await fixture.server("off")
            try await fixture.server("still", running: true)
            #expect(try await fixture.ask(.post, "/v1/servers/still/suspend").status == 200)
            try await fixture.server("moving", running: true)
            #expect(try await fixture.ask(.post, "/v1/servers/moving/live-migrate").status == 202)
            let before = try await fixture.snapshot()
            for (path, code, word) in [
                ("off/suspend", "wrong-status", "running"), ("off/resume", "wrong-status", "running"),
                ("still/start", "wrong-status", "server-resume"), ("still/stop", "wrong-status", "--force"),
                ("moving/suspend", "busy", "unfinished migration"),
            ] {
                let reply = try await fixture.ask(.post, "/v1/servers/\(path)")
                #expect(reply.status == 409, "\(path)")
                let problem = try reply.problem
                #expect(problem.code == code, "\(path)")
                #expect(problem.detail.contains(word), "\(path): \(problem.detail)")
            }
            #expect(try await fixture.ask(.post, "/v1/servers/nosuch/suspend").status == 404)
            #expect(try await fixture.snapshot() == before)
        }
    }

    @Test func `a suspended server can be moved live, and its power can be cut`() async throws {
        try await Fixture.with { fixture in
            try await fixture.server("web1", running: true)
            try await fixture.server("web2", running: true)
            for name in ["web1", "web2"] { #expect(try await fixture.ask(.post, "/v1/servers/\(name)/suspend").status == 200) }
            #expect(try await fixture.ask(.post, "/v1/servers/web1/live-migrate").status == 202)
            #expect(try await fixture.store.server("web1").isPaused)
            #expect(try await fixture.ask(.post, "/v1/servers/web2/stop", #"{"grace_ms": 0}"#).status == 200)
            let stopped = try await fixture.store.server("web2")
            #expect(stopped.status == .ready && !stopped.isPaused)
            let started: ServerView = try await fixture.ask(.post, "/v1/servers/web2/start").decode()
            #expect(started.status == .running)
        }
    }

    @Test func `a suspend that the agent refused leaves the server running`() async throws {
        try await Fixture.with { fixture in
            try await fixture.server("web1", running: true)
            await fixture.fleet["host1"].fail("pause(true)", with: AgentProblem(.conflict, .guestStopped, "It is off."))
            #expect(try await fixture.ask(.post, "/v1/servers/web1/suspend").status == 409)
            let server = try await fixture.store.server("web1")
            #expect(server.status == .running && !server.isPaused)
        }
    }

    @Test func `a controller that died before it kept the answer leaves it to the next look at the host`() async throws {
        try await Fixture.with { fixture in
            let id = ServerID(try await fixture.server("web1", running: true).id)
            let begun = try await fixture.store.beginPause(id)
            _ = try await fixture.fleet["host1"].pause(id, PauseOrder(epoch: begun.epoch, isPaused: true))
            #expect(try await fixture.store.server("web1").isPaused == false)
            await fixture.controller.operations.takeOver()
            await fixture.controller.watch.look(at: try await fixture.store.host("host1"))
            #expect(try await fixture.store.server("web1").isPaused)
        }
    }

    @Test func `what the agent sees of it becomes true in the store, unless an operation is under way`() async throws {
        try await Fixture.with { fixture in
            let id = ServerID(try await fixture.server("web1", running: true).id)
            let host = try await fixture.store.host("host1")
            let agent = fixture.fleet["host1"]
            await agent.set(id, .paused)
            await fixture.controller.watch.look(at: host)
            #expect(try await view(fixture).status == .suspend)
            await agent.set(id, .running)
            await fixture.controller.watch.look(at: host)
            #expect(try await view(fixture).status == .running)
            // A stop that is under way settles it itself.
            await agent.set(id, .paused)
            _ = try await fixture.store.beginOperation(id, .stopping, from: [.running], owner: "controller/other", leaseMS: 60_000)
            await fixture.controller.watch.look(at: host)
            #expect(try await fixture.store.server("web1").isPaused == false)
        }
    }

    @Test func `a TPM and a base reach the agent, and are shown`() async throws {
        try await Fixture.with { fixture in
            let reply = try await fixture.ask(
                .post, "/v1/servers",
                #"{"name": "web1", "tpm": "2.0", "disks": [{"base": "/images/golden.qcow2"}, {"size_bytes": 1048576}]}"#)
            #expect(reply.status == 201)
            let server: ServerView = try reply.decode()
            #expect(server.tpm == .v2)
            #expect(server.disks.first?.base == "golden")
            #expect(server.disks.last?.base == nil)
            for (body, field) in [
                (#"{"name": "a", "tpm": "1.2"}"#, "tpm"),
                (#"{"name": "a", "disks": [{"base": "golden.qcow2"}]}"#, "disks[0].base"),
                (#"{"name": "a", "disks": [{"base": "/a", "image": "/b"}]}"#, "disks[0].base"),
                (#"{"name": "a", "disks": [{"base": "/a", "format": "raw"}]}"#, "disks[0].base"),
            ] {
                let refused = try await fixture.ask(.post, "/v1/servers", body)
                #expect(refused.status == 400 || refused.status == 422, "\(body)")
                #expect(try refused.problem.field == field, "\(body)")
            }
        }
    }
}
