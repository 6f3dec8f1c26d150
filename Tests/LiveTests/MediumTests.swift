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

/// The medium in the cdrom of a server that moves live.
@Suite struct MediumTests {
    private static let medium = "/medium.iso"

    @Test func `without a word about it the target is told how large the medium must be`() async throws {
        try await Stage.run(cdrom: Self.medium) { stage in
            let row = try await stage.runToEnd()
            #expect(row.state == .ready)
            let prepared = stage.fleet.world.withLock { $0.prepared }
            #expect(prepared?.description.cdrom == Self.medium && prepared?.cdromBytes == 2048)
            #expect(!stage.fleet.log.contains { $0.contains("cdrom") })
            #expect(try await stage.store.server(stage.server.id.value).description.cdrom == Self.medium)
        }
    }

    @Test func `it is taken out before the disks are mirrored, and the store forgets it with the placement`() async throws {
        try await Stage.run(cdrom: Self.medium) { stage in
            let row = try await stage.runToEnd(MigrationOptions(ejectCDROM: true))
            #expect(row.state == .ready)
            #expect(
                stage.fleet.log == ["host2 prepare", "host1 cdrom “”", "host1 mirror", "host1 sendMemory", "host1 discard source"])
            let prepared = stage.fleet.world.withLock { $0.prepared }
            #expect(prepared?.description.cdrom == "" && prepared?.cdromBytes == nil)
            #expect(try await stage.store.server(stage.server.id.value).description.cdrom == "")
            #expect(try await stage.isWhole(on: "host2"))
        }
    }

    @Test func `a rollback puts it back, after the guest is the source's again`() async throws {
        try await Stage.run(cdrom: Self.medium) { stage in
            stage.fleet.world.withLock { world in
                world.onPhase[.memory] = { $0.killTarget("host2", source: "host1") }
            }
            let row = try await stage.runToEnd(MigrationOptions(ejectCDROM: true), maxAttempts: 1)
            #expect(row.state == .failed)
            let log = stage.fleet.log
            let back = try #require(log.firstIndex(of: "host1 cdrom “\(Self.medium)”"))
            #expect(back > (try #require(log.lastIndex { $0.hasPrefix("host1 abort") || $0 == "host1 mirror" })))
            #expect(try await stage.store.server(stage.server.id.value).description.cdrom == Self.medium)
            #expect(try await stage.isWhole(on: "host1"))
        }
    }

    @Test func `it goes back also where the source was away when its mirrors should have ended`() async throws {
        try await Stage.run(cdrom: Self.medium) { stage in
            stage.fleet.world.withLock { $0.isFrozen = true }
            stage.fleet.onCall { _, call in
                if call == "host1 outgoing" { stage.fleet.world.withLock { $0.nodes["host1"]?.silentCalls = .max } }
            }
            let id = try await stage.submit(MigrationOptions(ejectCDROM: true), maxAttempts: 1)
            try await stage.withWorker {
                try await stage.eventually("it waits for the source") {
                    try await stage.store.migration(id.value).awaiting?.contains("back into the cdrom") == true
                }
                stage.fleet.onCall(nil)
                stage.fleet.world.withLock { $0.nodes["host1"]?.silentCalls = 0 }
                let row = try await stage.end(of: id)
                #expect(row.state == .failed && row.reason?.code == .sourceLost)
            }
            let log = stage.fleet.log
            #expect(try #require(log.lastIndex(of: "host1 abort false")) < #require(log.lastIndex(of: "host1 cdrom “\(Self.medium)”")))
            #expect(try await stage.isWhole(on: "host1"))
        }
    }

    @Test func `a server without a medium has none to take out`() async throws {
        for cdrom in [nil, ""] {
            try await Stage.run(cdrom: cdrom) { stage in
                let row = try await stage.runToEnd(MigrationOptions(ejectCDROM: true))
                #expect(row.state == .ready)
                #expect(!stage.fleet.log.contains { $0.contains("cdrom") })
                #expect(try await stage.store.server(stage.server.id.value).description.cdrom == cdrom)
            }
        }
    }
}
