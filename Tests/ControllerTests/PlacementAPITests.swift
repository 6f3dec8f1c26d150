import AgentAPI
import Client
import Fleet
import Foundation
import Hummingbird
import Store
import Testing

@testable import Controller

@Suite(.timeLimit(.minutes(1)))
struct PlacementAPITests {
    @Test func `a host is set apart for maintenance, and its limits are set`() async throws {
        try await Fixture.with(hosts: ["host1"]) { fixture in
            let kept: HostView = try await fixture.ask(.post, "/v1/hosts/host1/maintenance").decode()
            #expect(kept.maintenance)
            let refused = try await fixture.ask(.post, "/v1/servers", #"{"name": "web1"}"#)
            #expect(try refused.problem.detail.contains("host1 is in maintenance"))
            let back: HostView = try await fixture.ask(.post, "/v1/hosts/host1/unmaintenance").decode()
            #expect(!back.maintenance)
            let limited: HostView = try await fixture.ask(
                .patch, "/v1/hosts/host1", #"{"vcpus_overcommit": 1.5, "memory_overcommit": 2, "inbound_slots": 4, "outbound_slots": 0}"#
            ).decode()
            #expect((limited.vcpusOvercommit, limited.memoryOvercommit) == (1.5, 2))
            #expect((limited.inboundSlots, limited.outboundSlots) == (4, 0))
            for (body, field) in [
                (#"{"vcpus_overcommit": 0}"#, "vcpus_overcommit"), (#"{"memory_overcommit": "much"}"#, "memory_overcommit"),
                (#"{"inbound_slots": -1}"#, "inbound_slots"), (#"{"slots": 1}"#, "slots"),
            ] {
                let problem = try await fixture.ask(.patch, "/v1/hosts/host1", body).problem
                #expect((problem.status, problem.field) == (400, field), "\(body)")
            }
            #expect(try await fixture.ask(.patch, "/v1/hosts/host1", "{}").status == 400)
            #expect(try await fixture.ask(.patch, "/v1/hosts/none", #"{"inbound_slots": 1}"#).status == 404)
            // Four cores, one and a half vCPUs each.
            #expect(try await fixture.ask(.post, "/v1/servers", #"{"name": "big", "vcpus": 7}"#).status == 409)
            #expect(try await fixture.ask(.post, "/v1/servers", #"{"name": "fits", "vcpus": 6}"#).status == 201)
        }
    }

    @Test func `the servers of a host leave when its maintenance begins, and what cannot is told`() async throws {
        try await Fixture.with { fixture in
            for name in ["web1", "web2"] { try await fixture.server(name) }
            #expect(try await fixture.ask(.post, "/v1/servers/web2/migrate").status == 202)
            let full: HostView = try await fixture.ask(.post, "/v1/hosts/host1/maintenance", #"{"drain": false}"#).decode()
            #expect(full.maintenance && full.drain == nil)
            let host: HostView = try await fixture.ask(.post, "/v1/hosts/host1/maintenance").decode()
            #expect(host.maintenance && host.drain?.batch?.total == 1 && host.drain?.batch?.name.hasPrefix("drain-host1-") == true)
            #expect(host.drain?.staying.map(\.id) == ["web2"])
            let batch = try #require(host.drain?.batch)
            let migrations: Page<MigrationView> = try await fixture.ask(.get, "/v1/migrations?batch=\(batch.id)").decode()
            #expect(migrations.items.map(\.server.name) == ["web1"] && migrations.items.map(\.mode) == [.cold])
            // Both are on their way by now.
            let again: HostView = try await fixture.ask(.post, "/v1/hosts/host1/maintenance").decode()
            #expect(again.drain?.batch == nil && again.drain?.staying.map(\.id) == ["web1", "web2"])
            let empty: HostView = try await fixture.ask(.post, "/v1/hosts/host2/maintenance").decode()
            #expect(empty.drain == DrainView(batch: nil, staying: []))
            #expect(try await fixture.ask(.post, "/v1/hosts/host2/maintenance", #"{"drain": 1}"#).status == 400)
        }
    }

    @Test func `groups are made, filled and obeyed by new servers`() async throws {
        try await Fixture.with { fixture in
            try await fixture.server("web1")
            let made = try await fixture.ask(.post, "/v1/server-groups", #"{"name": "web", "policy": "apart"}"#)
            #expect(made.status == 201)
            let group: GroupView = try await fixture.ask(.post, "/v1/server-groups/web/servers", #"{"server": "web1"}"#).decode()
            #expect(group.members.map(\.server.name) == ["web1"] && group.members.map(\.host.name) == ["host1"] && group.isKept)
            let second = try await fixture.ask(.post, "/v1/servers", #"{"name": "web2", "group": "web"}"#)
            #expect(try second.decode(ServerView.self).host.name == "host2")
            let third = try await fixture.ask(.post, "/v1/servers", #"{"name": "web3", "group": "web"}"#)
            #expect(third.status == 409)
            #expect(try third.problem.detail.contains("host1 must be kept apart from web1 (group web)"))
            try await fixture.server("web4")
            let crowded: GroupView = try await fixture.ask(.post, "/v1/server-groups/web/servers", #"{"server": "web4"}"#).decode()
            #expect(!crowded.isKept)
            let left: GroupView = try await fixture.ask(.delete, "/v1/server-groups/web/servers/web4").decode()
            #expect(left.isKept && left.members.count == 2)
            #expect(try await fixture.ask(.get, "/v1/server-groups").decode(Page<GroupView>.self).items.map(\.name) == ["web"])
            for (method, path, body, status) in [
                (.post, "/v1/server-groups", #"{"name": "web", "policy": "apart"}"#, 409),
                (.post, "/v1/server-groups", #"{"name": "-x", "policy": "apart"}"#, 400),
                (.post, "/v1/server-groups", #"{"name": "x"}"#, 400),
                (.post, "/v1/server-groups", #"{"name": "x", "policy": "near"}"#, 400),
                (.post, "/v1/server-groups/web/servers", #"{"server": "nosuch"}"#, 404),
                (.post, "/v1/servers", #"{"name": "w", "group": "nosuch"}"#, 404),
                (.get, "/v1/server-groups/nosuch", nil, 404),
            ] as [(HTTPRequest.Method, String, String?, Int)] {
                #expect(try await fixture.ask(method, path, body).status == status, "\(path) \(body ?? "")")
            }
            #expect(try await fixture.ask(.delete, "/v1/server-groups/web").status == 204)
        }
    }

    @Test func `a forecast names candidates, rejected hosts and what it would take`() async throws {
        try await Fixture.with(hosts: ["host1", "host2", "host3"]) { fixture in
            try await fixture.server("web1", running: true)
            _ = try await fixture.ask(.post, "/v1/hosts/host3/maintenance")
            await fixture.fleet["host1"].measures(
                MeasureReport(
                    isRunning: true, memoryBytes: 64 << 20, memoryUsedBytes: 50_000_000,
                    dirtied: [DirtyWindow(milliseconds: 1000, bytes: 1_000_000)],
                    disks: [DiskMeasure(name: "disk0", storage: "local", allocatedBytes: 30_000_000)]),
                rehearsal: RehearsalReport(bytes: 10_000_000, microseconds: 100_000))
            let reply = try await fixture.ask(.post, "/v1/servers/web1/migrate-forecast", #"{"live_migrate": true}"#)
            #expect(reply.status == 200)
            let forecast: ForecastView = try reply.decode()
            #expect(forecast.candidates.map(\.host.name) == ["host2"])
            #expect(forecast.rejected.map(\.host.name) == ["host3", "host1"])
            #expect(
                forecast.rejected.first.map { [$0.filter, $0.wanted, $0.found] } == ["maintenance", "not in maintenance", "in maintenance"])
            let estimate = try #require(forecast.estimate)
            #expect(estimate.targetHost.name == "host2" && estimate.converges)
            #expect(estimate.diskBytes == 30_000_000 && estimate.diskMS == 300 && estimate.dirtyRateBytesPerSecond == 1_000_000)
            #expect(estimate.memoryRateBytesPerSecond == 100_000_000 && (500...600).contains(estimate.memoryMS))
            #expect(forecast.notes.count == 1 && forecast.notes[0].hasPrefix("No live migration has told yet"), "\(forecast.notes)")
            #expect(await fixture.fleet["host2"].orders == ["await-rehearsal(local)", "await-rehearsal(memory)"])
            // It asks, and orders nothing.
            #expect(await fixture.fleet["host1"].orders.filter { $0.hasPrefix("rehearse") || $0.hasPrefix("measure") }.count == 3)
            #expect(try await fixture.store.migrations(.init()).isEmpty)
        }
    }

    @Test func `a forecast counts the base image in that the target lacks, and says so`() async throws {
        try await Fixture.with(hosts: ["host1", "host2"]) { fixture in
            let created = try await fixture.ask(
                .post, "/v1/servers",
                #"{"name": "web1", "memory_mb": 64, "disks": [{"base": "/images/golden.qcow2", "format": "qcow2"}], "prefer_host": "host1"}"#
            )
            #expect(created.status == 201)
            var report = MeasureReport(
                isRunning: false, memoryBytes: 64 << 20,
                disks: [DiskMeasure(name: "disk0", storage: "local", allocatedBytes: 30_000_000)])
            report.bases = [DiskMeasure(name: "golden", storage: "local", allocatedBytes: 500_000_000)]
            await fixture.fleet["host1"].measures(report, rehearsal: RehearsalReport(bytes: 10_000_000, microseconds: 100_000))
            func forecast() async throws -> ForecastView {
                try await fixture.ask(.post, "/v1/servers/web1/migrate-forecast", "{}").decode()
            }
            let lacking = try await forecast()
            #expect(lacking.candidates.map(\.host.name) == ["host2"])
            #expect(lacking.estimate?.diskBytes == 530_000_000 && lacking.estimate?.diskMS == 5300)
            #expect(
                lacking.notes == ["host2 lacks base image golden on storage local: its 476 MiB are brought along."], "\(lacking.notes)")
            await fixture.fleet["host2"].has("golden")
            let having = try await forecast()
            #expect(having.estimate?.diskBytes == 30_000_000 && having.notes.isEmpty)
        }
    }

    @Test func `a forecast says what stands in the way, and asks for nothing that it need not know`() async throws {
        try await Fixture.with { fixture in
            try await fixture.server("web1", running: true)
            let cold: ForecastView = try await fixture.ask(.post, "/v1/servers/web1/migrate-forecast", #"{"measure": false}"#).decode()
            #expect(cold.mode == .cold && cold.candidates.map(\.host.name) == ["host2"] && cold.estimate == nil)
            #expect(cold.notes == ["web1 is running; a cold migration needs it stopped. Ask with --live-migrate for a live one."])
            let rescue: ForecastView = try await fixture.ask(.post, "/v1/servers/web1/migrate-forecast", #"{"rescue_mode": true}"#).decode()
            #expect(rescue.candidates.isEmpty && rescue.rejected.first?.filter == "local-disk")
            #expect(rescue.notes.first?.contains("answers, so there is nothing to rescue") == true, "\(rescue.notes)")
            let there: ForecastView = try await fixture.ask(
                .post, "/v1/servers/web1/migrate-forecast", #"{"live_migrate": true, "prefer_host": "host1"}"#
            ).decode()
            #expect(there.candidates.isEmpty && there.rejected.map(\.filter) == ["preferred", "not-source"])
            // What an agent cannot tell is said, and the places are told nevertheless.
            let silent: ForecastView = try await fixture.ask(.post, "/v1/servers/web1/migrate-forecast", #"{"live_migrate": true}"#)
                .decode()
            #expect(silent.candidates.count == 1 && silent.estimate == nil && silent.notes.count == 1)
            let both = try await fixture.ask(.post, "/v1/servers/web1/migrate-forecast", #"{"live_migrate": true, "rescue_mode": true}"#)
            #expect(try both.problem.field == "rescue_mode")
            for (body, field) in [
                (#"{"skip_cpu_check": true}"#, "skip_cpu_check"), (#"{"cpu_check": "features"}"#, "cpu_check"),
                (#"{"auto_converge": false}"#, "auto_converge"), (#"{"rescue_mode": true, "post_copy": true}"#, "post_copy"),
                (#"{"rescue_mode": true, "enable_tls": true}"#, "enable_tls"),
            ] {
                let misplaced = try await fixture.ask(.post, "/v1/servers/web1/migrate-forecast", body)
                #expect(misplaced.status == 400)
                #expect(try misplaced.problem.field == field)
            }
            #expect(try await fixture.ask(.post, "/v1/servers/nosuch/migrate-forecast").status == 404)
        }
    }

    @Test func `the features of the guest's CPU decide where models differ`() async throws {
        try await Fixture.with(hosts: ["host1", "host2", "host3"]) { fixture in
            try await fixture.server("web1", running: true)
            for name in ["host2", "host3"] {
                await fixture.fleet[name].change { $0.cpuModel = "another" }
                await fixture.controller.watch.look(at: try await fixture.store.host(name))
            }
            await fixture.fleet["host1"].has(features: ["avx2", "sse3"])
            await fixture.fleet["host2"].has(features: ["sse3"])
            await fixture.fleet["host3"].has(features: ["sse3", "avx2"])
            func ask(_ more: String) async throws -> ForecastView {
                try await fixture.ask(
                    .post, "/v1/servers/web1/migrate-forecast", "{\"live_migrate\": true, \"measure\": false\(more)}"
                ).decode()
            }
            #expect(try await ask("").rejected.map(\.filter) == ["cpu-model", "cpu-model", "not-source"])
            let told = try await ask(", \"cpu_check\": \"features\"")
            #expect(told.candidates.map(\.host.name) == ["host3"])
            #expect(told.rejected.first.map { [$0.host.name, $0.filter, $0.found] } == ["host2", "cpu-features", "its QEMU lacks avx2"])
        }
    }
}
