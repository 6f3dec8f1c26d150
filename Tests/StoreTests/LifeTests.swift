import Backends
import Fleet
import Store
import Testing

@Suite struct LifeTests {
    @Test(arguments: Backend.available)
    func `a live migration leaves reservation, placement, status, journal and history as one story`(_ backend: Backend) async throws {
        try await withStore(backend) { store in
            let (one, two) = (try await store.addHost("one"), try await store.addHost("two"))
            let server = try await store.addServer("web", on: one)
            let submitted = try await store.submit(server)
            #expect(submitted.state == .pending)
            #expect(submitted.source == one.id)
            #expect(try await store.server("web").status == .startMigrate)

            let claimed = try #require(try await store.claimMigrations(worker: "w1", leaseMS: 60_000, limit: 5).first)
            #expect(claimed.id == submitted.id)
            #expect(claimed.epoch == server.epoch.next)
            #expect(try await store.server("web").epoch == claimed.epoch)

            let switching = try await store.bring(claimed, toSwitchingOn: two)
            #expect(try await store.hostLoads().first { $0.host.id == two.id }?.inboundMigrations == 1)
            let ready = try await store.advance(switching, to: .ready) { change in
                change.placement = two.id
                change.serverStatus = .running
                change.journal = [JournalEntry(attempt: 1, step: "switch", position: 0, status: .done, output: "{}")]
                change.cleanups = [
                    Cleanup(
                        id: "c1", kind: .source, migration: claimed.id, server: server.id, host: one.id, attempt: 1, epoch: claimed.epoch,
                        dueAt: Timestamp(milliseconds: 0))
                ]
            }
            #expect(ready.finishedAt != nil)
            let moved = try await store.server("web")
            #expect(moved.host == two.id)
            #expect(moved.status == .running)
            #expect(try await store.hostLoads().map(\.vcpusTaken) == [0, 1])
            #expect(try await store.hostLoads().map(\.inboundMigrations) == [0, 0])
            #expect(try await store.cleanups().map(\.host) == [one.id])
            #expect(try await store.journal(of: claimed.id).map(\.step) == ["switch"])
            let history = try await store.history(of: claimed.id)
            #expect(history.map(\.to) == [.pending, .scheduling, .syncingDisk, .syncingMemory, .switching, .ready])
            #expect(history.map(\.from) == [nil, .pending, .scheduling, .syncingDisk, .syncingMemory, .switching])
            #expect(history.map(\.sequence) == history.map(\.sequence).sorted())
        }
    }
}
