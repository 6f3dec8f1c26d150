import AgentAPI
import AgentFakes
import Engine
import Fleet
import Glibc
import Staging
import Store
import Synchronization
import Testing

@testable import Live

/// What the step that places does beside asking ``Placement``.
@Suite struct PlaceTests {
    @Test func `asks QEMU of each host that would be chosen for the features that the guest was given`() async throws {
        try await Stage.run { stage in
            stage.fleet.world.withLock { world in
                world.nodes["host1"]?.features = ["avx2", "sse3"]
                world.nodes["host2"]?.features = ["sse3"]
                world.nodes["host3"]?.features = ["avx2", "sse3", "vaes"]
            }
            let row = try await stage.runToEnd(MigrationOptions(cpuCheck: .features))
            #expect(row.state == .ready && row.attempt == 1)
            #expect(try await stage.isWhole(on: "host3"))
        }
    }

    @Test(arguments: [-86_400_000, 86_400_000])
    func `judges by the store's clock whether hosts are online, not by the worker's`(aheadMS: Int64) async throws {
        let clock = Timestamp.Clock {
            var now = timespec()
            clock_gettime(CLOCK_REALTIME, &now)
            return Timestamp(milliseconds: Int64(now.tv_sec) * 1000 + aheadMS)
        }
        try await Timestamp.$clock.withValue(clock) {
            try await Stage.run { stage in
                // Of one that fell silent a clock that is behind would not know.
                try await stage.store.recordHealth(of: stage.hosts[1].id, facts: .staged(memoryGB: 64), validForMS: 0)
                let row = try await stage.runToEnd()
                #expect(row.state == .ready && row.attempt == 1)
                #expect(try await stage.isWhole(on: "host3"))
            }
        }
    }

    @Test func `says which features are missing where no host has them all`() async throws {
        try await Stage.run { stage in
            stage.fleet.world.withLock { world in
                world.nodes["host1"]?.features = ["avx2", "sse3"]
                world.nodes["host2"]?.features = ["sse3"]
                world.nodes["host3"]?.problems["cpu-check"] = AgentProblem(.failed, .qemuError, "QEMU is gone")
            }
            let row = try await stage.runToEnd(MigrationOptions(cpuCheck: .features))
            #expect(row.state == .failed && row.reason?.code == .noHost)
            let lines = row.reason?.message.split(separator: "\n").map(String.init) ?? []
            #expect(lines.contains { $0.contains("host2  cpu-features") && $0.hasSuffix("its QEMU lacks avx2") })
            #expect(lines.contains { $0.contains("host3  cpu-features") && $0.contains("QEMU is gone") })
            #expect(stage.fleet.log.isEmpty)
        }
    }

    @Test func `waits in sight of everybody for a slot, and goes on when there is one`() async throws {
        try await Stage.run { stage in
            for host in stage.hosts.dropFirst() { _ = try await stage.store.setHostLimits(host.id, inbound: 0) }
            let id = try await stage.submit()
            try await stage.withWorker {
                try await stage.eventually("it waits") { try await stage.store.migration(id.value).awaiting != nil }
                let waiting = try await stage.store.migration(id.value)
                #expect(waiting.awaiting == "a free slot for a migration into host2, host3")
                #expect(waiting.state == .scheduling && waiting.target == nil)
                _ = try await stage.store.setHostLimits(stage.hosts[2].id, inbound: 1)
                let row = try await stage.end(of: id)
                #expect(row.state == .ready && row.awaiting == nil)
            }
            #expect(try await stage.isWhole(on: "host3"))
        }
    }

    @Test func `a migration that waits for a slot can be cancelled`() async throws {
        try await Stage.run { stage in
            _ = try await stage.store.setHostLimits(stage.hosts[0].id, outbound: 0)
            let id = try await stage.submit()
            try await stage.withWorker {
                try await stage.eventually("it waits") { try await stage.store.migration(id.value).awaiting != nil }
                #expect(try await stage.store.migration(id.value).awaiting == "a free slot for a migration out of host1: 0 of 0 taken")
                _ = try await stage.store.requestCancel(id, actor: "ada")
                #expect(try await stage.end(of: id).reason?.code == .cancelled)
            }
            #expect(try await stage.isWhole(on: "host1"))
        }
    }

    @Test func `keeps away from a host where another of its group is`() async throws {
        try await Stage.run { stage in
            let id = ServerID.unique()
            var description = stage.server.description
            description.server = id
            description.name = "vm2"
            let other = try await stage.store.createServer(
                Server(
                    id: id, name: "vm2", status: .deploying, host: stage.hosts[1].id, epoch: .none, description: description, note: nil,
                    createdAt: .now), owner: "test", leaseMS: 60_000)
            try await stage.store.finishOperation(id, epoch: other.epoch, status: .ready, note: nil)
            _ = try await stage.store.createGroup(name: "web", policy: .apart)
            for server in [id, stage.server.id] { _ = try await stage.store.addToGroup("web", server: server) }
            #expect(try await stage.runToEnd().state == .ready)
            #expect(try await stage.isWhole(on: "host3"))
        }
    }
}
