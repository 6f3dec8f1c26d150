import AgentAPI
import AgentFakes
import Engine
import Fleet
import Staging
import Steps
import Store
import Synchronization
import Testing

@testable import Live

/// The options that say how a live migration's streams travel, and what is kept of a failure.
@Suite struct StreamPlanTests {
    @Test func `tells both ends how the streams travel`() async throws {
        try await Stage.run { stage in
            let row = try await stage.runToEnd(MigrationOptions(enableTLS: true, multifd: 4, keepDestGuestOnFailed: true))
            #expect(row.state == .ready)
            let wanted = StreamOptions(isEncrypted: true, channels: 4)
            let (prepared, mirrored) = stage.fleet.world.withLock { ($0.nodes["host2"]?.prepared, $0.nodes["host1"]?.mirrored) }
            #expect(prepared?.map(\.streams) == [wanted] && prepared?.map(\.keepsFailed) == [true])
            #expect(mirrored?.map(\.streams) == [wanted])
        }
        try await Stage.run(hasDisk: false) { stage in
            _ = try await stage.runToEnd(MigrationOptions(postCopy: true))
            let mirrored = stage.fleet.world.withLock { $0.nodes["host1"]?.mirrored }
            #expect(mirrored?.map(\.streams) == [StreamOptions(isPostCopyAllowed: true)])
        }
    }

    @Test func `tries another host when one's certificate does not do, and names both`() async throws {
        try await Stage.run { stage in
            stage.fleet.world.withLock { world in
                world.onPhase[.mirrored] = { $0.endSource("host1", .failed, Reason(.tlsRefused, "the handshake failed")) }
            }
            let row = try await stage.runToEnd(MigrationOptions(enableTLS: true))
            #expect(row.state == .ready && row.attempt == 2)
            let reason = row.excluded[stage.hosts[1].id]
            #expect(reason?.code == .tlsRefused)
            #expect(reason?.message.contains("host1") == true && reason?.message.contains("host2") == true)
            #expect(try await stage.isWhole(on: "host3"))
        }
    }

    @Test func `says where a failed attempt is kept, and why it failed`() async throws {
        try await Stage.run { stage in
            stage.fleet.world.withLock { world in
                world.onPhase[.mirrored] = { $0.killTarget("host2", source: "host1") }
            }
            let row = try await stage.runToEnd(MigrationOptions(keepDestGuestOnFailed: true))
            #expect(row.state == .ready && row.attempt == 2)
            let discarded = stage.fleet.world.withLock { $0.nodes["host2"]?.discarded.first }
            #expect(discarded?.reason?.code == .targetLost)
            let history = try await stage.store.history(of: row.id)
            let told = history.compactMap(\.reason).first { $0.code == "kept" }
            #expect(told?.message.contains("host2") == true)
            #expect(told?.message.contains("\(stage.server.id)-\(row.id)-1") == true)
        }
    }

    @Test func `says nothing of what is kept where nothing was made`() async throws {
        try await Stage.run { stage in
            stage.fleet.world.withLock { $0.nodes["host2"]?.problems["prepare"] = AgentProblem(.failed, .memoryShort, "no memory") }
            let row = try await stage.runToEnd(MigrationOptions(keepDestGuestOnFailed: true))
            #expect(row.state == .ready && row.attempt == 2)
            #expect(try await !stage.store.history(of: row.id).contains { $0.reason?.code == "kept" })
        }
    }

    @Test func `is ready only when post-copy is complete, and leaves the source alone until then`() async throws {
        try await Stage.run { stage in
            stage.fleet.world.withLock { $0.fetchingTicks = 1_000_000 }
            let id = try await stage.submit(MigrationOptions(postCopy: true))
            try await stage.withWorker {
                try await stage.eventually("the target runs") { stage.running == ["host2"] }
                try await stage.eventually("it was asked again and again") {
                    stage.fleet.world.withLock { $0.fetchingTicks } < 999_990
                }
                let row = try await stage.store.migration(id.value)
                #expect(row.state == .switching)
                #expect(stage.disks == ["host1", "host2"])
                stage.fleet.world.withLock { $0.fetchingTicks = 2 }
                #expect(try await stage.end(of: id).state == .ready)
            }
            #expect(try await stage.isWhole(on: "host2"))
        }
    }

    @Test func `goes on with another worker while memory is fetched`() async throws {
        try await Stage.run { stage in
            stage.fleet.world.withLock { $0.fetchingTicks = 1_000_000 }
            let id = try await stage.submit(MigrationOptions(postCopy: true))
            try await stage.withWorker { try await stage.eventually("the target runs") { stage.running == ["host2"] } }
            try await stage.expireLeases()
            stage.fleet.world.withLock { $0.fetchingTicks = 2 }
            let row = try await stage.withWorker("w2") { try await stage.end(of: id) }
            #expect(row.state == .ready)
            #expect(try await stage.isWhole(on: "host2"))
        }
    }

    @Test func `says what a silent source means, and waits for it`() async throws {
        try await Stage.run { stage in
            stage.fleet.world.withLock { $0.fetchingTicks = 1_000_000 }
            let id = try await stage.submit(MigrationOptions(postCopy: true))
            try await stage.withWorker {
                try await stage.eventually("the target runs") { stage.running == ["host2"] }
                stage.fleet.world.withLock { $0.nodes["host1"]?.silentCalls = 1_000_000 }
                try await stage.eventually("it is told") {
                    try await stage.store.migration(id.value).awaiting?.contains("alone has the rest of the guest's memory") == true
                }
                #expect(try await stage.store.migration(id.value).state == .switching)
                stage.fleet.world.withLock {
                    $0.nodes["host1"]?.silentCalls = 0
                    $0.fetchingTicks = 2
                }
                #expect(try await stage.end(of: id).state == .ready)
            }
            #expect(try await stage.isWhole(on: "host2"))
        }
    }

    @Test func `ends a guest whose memory is lost at the source, and says so`() async throws {
        try await Stage.run { stage in
            stage.fleet.world.withLock { $0.fetchingTicks = 1_000_000 }
            let id = try await stage.submit(MigrationOptions(postCopy: true))
            try await stage.withWorker {
                try await stage.eventually("the target runs") { stage.running == ["host2"] }
                stage.fleet.world.withLock { world in
                    let version = world.nextVersion()
                    world.nodes["host1"]?.outgoing?.postCopy = .lost
                    world.nodes["host1"]?.outgoing?.version = version
                }
                #expect(try await stage.end(of: id).state == .ready)
            }
            #expect(stage.fleet.log.contains("host2 stop"))
            #expect(stage.running == [] && stage.disks == ["host2"])
            let history = try await stage.store.history(of: id)
            #expect(history.contains { $0.reason?.code == .guestStopped })
        }
    }
}
