import AgentAPI
import Client
import Fleet
import Foundation
import Hummingbird
import Store
import Testing

@testable import Controller

struct ServerTests {
    @Test func `a server is created on its host, with all that was left open filled in`() async throws {
        try await Fixture.with { fixture in
            let reply = try await fixture.ask(
                .post, "/v1/servers",
                #"""
                {"name": "web1", "vcpus": 2, "memory_mb": 256, "prefer_host": "host2", "accelerator": "auto",
                 "boot": {"kernel": "/boot/vmlinuz", "command_line": "quiet"}, "cdrom": null,
                 "disks": [{"size_bytes": 1073741824, "bus": "virtio-scsi", "storage": "pool"}, {"image": "/images/a.qcow2", "format": "raw"}],
                 "nics": [{"network": "lan"}, {"network": "lan", "mac": "52:54:00:AB:cd:EF"}]}
                """#)
            #expect(reply.status == 201, "\(reply.text)")
            let server: ServerView = try reply.decode()
            #expect(server.status == .ready)
            #expect(server.host.name == "host2")
            #expect(server.memoryMB == 256)
            #expect((server.machine, server.cpuModel, server.accelerator) == ("pc-i440fx-7.2", "qemu64-v1", .tcg))
            #expect(server.disks.map(\.storage) == ["pool", "local"])
            #expect(server.disks.map(\.name) == ["disk0", "disk1"])
            #expect(server.disks.map(\.sizeBytes) == [1 << 30, 1 << 30])
            #expect(server.nics[0].mac.hasPrefix("52:54:00:"))
            #expect(server.nics[1].mac == "52:54:00:ab:cd:ef")
            #expect(server.consoleLog?.hasSuffix("/console.log") == true)
            #expect(server.migration == nil)

            let row = try await fixture.store.server("web1")
            #expect(row.description.memoryBytes == 256 << 20 + 8192)
            #expect(await fixture.fleet["host2"].orders == ["define \(server.id) 1"])
            #expect(await fixture.fleet["host1"].orders.isEmpty)
        }
    }

    @Test func `without a wish the host with the most free memory is chosen`() async throws {
        try await Fixture.with { fixture in
            await fixture.fleet["host2"].change { $0.memoryBytes = 16 << 30 }
            await fixture.controller.watch.look(at: try await fixture.store.host("host2"))
            let first = try await fixture.ask(.post, "/v1/servers", #"{"name": "big", "memory_mb": 10240}"#)
            let second = try await fixture.ask(.post, "/v1/servers", #"{"name": "small", "memory_mb": 64}"#)
            #expect(try first.decode(ServerView.self).host.name == "host2")
            #expect(try second.decode(ServerView.self).host.name == "host1")
        }
    }

    @Test func `a server is started, stopped and deleted, each under a higher epoch`() async throws {
        try await Fixture.with { fixture in
            let created = try await fixture.server("web1")
            let started = try await fixture.ask(.post, "/v1/servers/web1/start")
            #expect(try started.decode(ServerView.self).status == .running)
            let stopped = try await fixture.ask(.post, "/v1/servers/\(created.id)/stop", #"{"grace_ms": 0}"#)
            #expect(try stopped.decode(ServerView.self).status == .ready)
            #expect(try stopped.decode(ServerView.self).epoch == 3)
            let deleted = try await fixture.ask(.delete, "/v1/servers/web1")
            #expect(deleted.status == 204)
            #expect(deleted.body.isEmpty)
            #expect(try await fixture.ask(.get, "/v1/servers/web1").status == 404)
            #expect(
                await fixture.fleet["host1"].orders == [
                    "define \(created.id) 1", "start web1 2", "stop(0) web1 3", "delete web1 4",
                ])
            #expect(await fixture.fleet["host1"].guests.isEmpty)
        }
    }

    @Test func `a stop without a body gives the guest the usual grace`() async throws {
        try await Fixture.with { fixture in
            try await fixture.server("web1", running: true)
            #expect(try await fixture.ask(.post, "/v1/servers/web1/stop").status == 200)
            #expect(await fixture.fleet["host1"].orders.last == "stop(15000) web1 3")
        }
    }

    @Test func `a list shows by name, host and status, and counts`() async throws {
        try await Fixture.with { fixture in
            try await fixture.server("web1", running: true)
            try await fixture.server("web2", host: "host2")
            try await fixture.server("db1", host: "host2")
            func names(_ query: String) async throws -> [String] {
                let page: Page<ServerView> = try await fixture.ask(.get, "/v1/servers\(query)").decode()
                #expect(page.total == page.items.count)
                return page.items.map(\.name).sorted()
            }
            #expect(try await names("") == ["db1", "web1", "web2"])
            #expect(try await names("?search=web") == ["web1", "web2"])
            #expect(try await names("?host=host2") == ["db1", "web2"])
            #expect(try await names("?host=host2&search=web") == ["web2"])
            #expect(try await names("?status=running") == ["web1"])
        }
    }

    @Test func `what the agent cannot make leaves no server behind`() async throws {
        try await Fixture.with { fixture in
            let before = try await fixture.store.servers(ServerFilter())
            await fixture.fleet["host1"].fail("define", with: AgentProblem(.failed, .invalidRequest, "/images/letter.txt is no disk image"))
            let reply = try await fixture.ask(
                .post, "/v1/servers", #"{"name": "web1", "disks": [{"image": "/images/letter.txt"}], "prefer_host": "host1"}"#)
            #expect(reply.status == 422)
            let problem = try reply.problem
            #expect(problem.code == "invalid-request")
            #expect(problem.detail.contains("letter.txt"))
            #expect(try await fixture.store.servers(ServerFilter()) == before)
            #expect(await fixture.fleet["host1"].guests.isEmpty)
            #expect(await fixture.fleet["host1"].orders.last?.hasPrefix("delete ") == true)

            await fixture.fleet["host1"].fail("define", with: AgentProblem(.failed, .diskFull, "no space left on storage local"))
            let full = try await fixture.ask(.post, "/v1/servers", #"{"name": "web1", "prefer_host": "host1"}"#)
            #expect(full.status == 502)
            #expect(try full.problem.code == "disk-full")
            await fixture.fleet["host1"].fail("define", with: nil)
            #expect(try await fixture.server("web1").status == .ready)
        }
    }

    @Test func `a start that the agent refuses leaves the server as it was, with the reason`() async throws {
        try await Fixture.with { fixture in
            try await fixture.server("web1")
            await fixture.fleet["host1"].fail("start", with: AgentProblem(.failed, .memoryShort, "host1 has not the memory"))
            let refused = try await fixture.ask(.post, "/v1/servers/web1/start")
            #expect(refused.status == 502)
            #expect(try refused.problem.code == "memory-short")
            let shown: ServerView = try await fixture.ask(.get, "/v1/servers/web1").decode()
            #expect(shown.status == .ready)
            #expect(shown.note?.code == .memoryShort)

            await fixture.fleet["host1"].fail("start", with: nil)
            let again: ServerView = try await fixture.ask(.post, "/v1/servers/web1/start").decode()
            #expect(again.status == .running)
            #expect(again.note == nil)
        }
    }
}
