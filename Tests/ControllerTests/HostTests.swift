import AgentAPI
import Client
import Fleet
import Foundation
import Hummingbird
import Store
import Testing

@testable import Controller

@Suite(.timeLimit(.minutes(1)))
struct HostTests {
    @Test func `a host is registered, watched, disabled and enabled`() async throws {
        try await Fixture.with(hosts: ["host1"]) { fixture in
            let reply = try await fixture.ask(.post, "/v1/hosts", #"{"name": "host9", "agent_url": "https://10.0.0.9:7070/"}"#)
            #expect(reply.status == 201)
            let new: HostView = try reply.decode()
            #expect((new.status, new.agentURL, new.cpus) == (.offline, "https://10.0.0.9:7070", nil))

            try await fixture.server("web1")
            let host: HostView = try await fixture.ask(.get, "/v1/hosts/host1").decode()
            #expect((host.status, host.enabled, host.cpus, host.memoryTotalMB) == (.online, true, 4, 8192))
            #expect((host.vcpusTaken, host.memoryTakenMB) == (1, 64))
            #expect(host.storages.map(\.name) == ["local", "spare", "pool"])
            #expect(host.warnings.count == 1)

            let disabled: HostView = try await fixture.ask(.post, "/v1/hosts/\(host.id)/disable").decode()
            #expect(!disabled.enabled)
            let refused = try await fixture.ask(.post, "/v1/servers", #"{"name": "web2"}"#)
            #expect(try refused.problem.detail.contains("host1 is disabled"))
            let enabled: HostView = try await fixture.ask(.post, "/v1/hosts/host1/enable").decode()
            #expect(enabled.enabled)
            let page: Page<HostView> = try await fixture.ask(.get, "/v1/hosts").decode()
            #expect(page.items.map(\.name) == ["host1", "host9"])
        }
    }

    @Test func `hosts are asked again and again, and one that hangs holds up no other`() async throws {
        try await Fixture.with(hosts: []) { fixture in
            let fleet = ScriptedFleet(["h1", "h2"])
            let controller = try Fixture.controller(
                fixture.store, fleet, watch: HostWatch.Timing(interval: .milliseconds(20), deadline: .seconds(30), validity: .seconds(10)))
            for name in ["h1", "h2"] { _ = try await fixture.store.registerHost(name: name, agentURL: "https://\(name):1") }
            await fleet["h1"].hang("host")
            try await withThrowingTaskGroup { group in
                group.addTask { try await controller.watch.run() }
                defer { group.cancelAll() }
                try await eventually("h2 is online") { try await fixture.store.host("h2").isOnline(at: .now) }
                #expect(try await !fixture.store.host("h1").isOnline(at: .now))
                #expect(await fleet["h1"].waiting == 1, "asked once at a time")
                await fleet["h2"].change { $0.kernel = "6.9.9" }
                try await eventually("what changed is seen") { try await fixture.store.host("h2").facts?.kernel == "6.9.9" }
                await fleet["h1"].letGo("host")
                try await eventually("h1 is online") { try await fixture.store.host("h1").isOnline(at: .now) }
            }
        }
    }

    @Test func `a host that does not answer in time grows stale`() async throws {
        try await Fixture.with(hosts: ["host1"]) { fixture in
            let timing = HostWatch.Timing(interval: .seconds(1), deadline: .milliseconds(50), validity: .milliseconds(1))
            let watch = HostWatch(store: fixture.store, agents: fixture.fleet, log: Fixture.quiet, timing: timing)
            let host = try await fixture.store.host("host1")
            await watch.look(at: host)
            let proven = try await fixture.store.host("host1").healthyUntil
            await fixture.fleet["host1"].hang("host")
            await watch.look(at: host)
            #expect(try await fixture.store.host("host1").healthyUntil == proven)
            #expect(try await fixture.store.host("host1").facts != nil, "what it told last stays known")
        }
    }

    @Test func `a guest that ended by itself makes its server ready, with a note`() async throws {
        try await Fixture.with { fixture in
            let server = try await fixture.server("web1", running: true)
            let host = try await fixture.store.host("host1")
            await fixture.controller.watch.look(at: host)
            #expect(try await fixture.store.server("web1").status == .running)

            await fixture.fleet["host1"].set(ServerID(server.id), .stopped)
            await fixture.controller.watch.look(at: host)
            let corrected = try await fixture.store.server("web1")
            #expect(corrected.status == .ready)
            #expect(corrected.note?.code == .guestStopped)
            #expect(corrected.epoch.value == server.epoch, "seeing is not ordering")

            await fixture.fleet["host1"].set(ServerID(server.id), .running)
            await fixture.controller.watch.look(at: host)
            #expect(try await fixture.store.server("web1").status == .running)
            #expect(try await fixture.store.server("web1").note == nil)
        }
    }

    @Test func `an operation or a migration under way is left alone, and so is a stranger`() async throws {
        try await Fixture.with { fixture in
            let moving = try await fixture.server("moving", running: true)
            let starting = try await fixture.server("starting")
            #expect(try await fixture.ask(.post, "/v1/servers/moving/live-migrate").status == 202)
            _ = try await fixture.store.beginOperation(
                ServerID(starting.id), .starting, from: [.ready], owner: "other", leaseMS: 60_000)
            let agent = fixture.fleet["host1"]
            await agent.set(ServerID(moving.id), .handedOver)
            let stranger = ServerID("stranger")
            await agent.put(
                stranger,
                ScriptedAgent.Guest(description: try await fixture.store.server("moving").description, status: .running, epoch: Epoch(9)))
            let before = try await fixture.snapshot()
            await fixture.controller.watch.look(at: try await fixture.store.host("host1"))
            await fixture.controller.watch.look(at: try await fixture.store.host("host1"))
            #expect(try await fixture.snapshot() == before)
        }
    }

    @Test func `a correction by an old answer does not undo a newer operation`() async throws {
        try await Fixture.with { fixture in
            let server = try await fixture.server("web1", running: true)
            let agent = fixture.fleet["host1"]
            let host = try await fixture.store.host("host1")
            // The watch has read the server, then hangs on the agent while the server is stopped and started.
            await agent.set(ServerID(server.id), .stopped)
            await agent.hang("host")
            async let look: Void = fixture.controller.watch.look(at: host)
            try await eventually("the agent is asked") { await agent.waiting == 1 }
            let stale = try await fixture.store.server("web1")
            #expect(try await fixture.ask(.post, "/v1/servers/web1/stop", #"{"grace_ms": 0}"#).status == 200)
            #expect(try await fixture.ask(.post, "/v1/servers/web1/start").status == 200)
            await agent.set(ServerID(server.id), .stopped)
            await agent.letGo("host")
            await look
            let now = try await fixture.store.server("web1")
            #expect(now.status == .running)
            #expect(now.epoch > stale.epoch)
        }
    }

    @Test(
        arguments: [
            (ServerStatus.running, GuestSummary.Status.stopped, ServerStatus.ready), (.running, nil, .ready), (.ready, .running, .running),
            (.running, .running, nil), (.ready, .stopped, nil), (.ready, nil, nil), (.running, .paused, .running),
            (.running, .handedOver, nil), (.ready, .paused, .running),
            (.ready, .incoming, nil), (.starting, .stopped, nil), (.liveMigrating, .stopped, nil), (.deploying, nil, nil),
        ] as [(ServerStatus, GuestSummary.Status?, ServerStatus?)])
    func `what an agent saw corrects only what nothing else will settle`(
        status: ServerStatus, seen: GuestSummary.Status?, becomes: ServerStatus?
    ) {
        let id: ServerID = "s"
        let description = GuestDescription(
            server: id, name: "s", vcpus: 1, memoryBytes: 1, cpuModel: "", machine: "", accelerator: .tcg, firmware: .bios, boot: nil,
            disks: [],
            cdrom: nil, nics: [])
        let server = Server(
            id: id, name: "s", status: status, host: "h", epoch: Epoch(1), description: description, note: nil, createdAt: .now)
        let guest = seen.map { GuestSummary(server: id, status: $0, epoch: Epoch(1), pid: nil) }
        #expect(HostWatch.correction(of: server, by: guest, on: "h")?.status == becomes)
    }
}
