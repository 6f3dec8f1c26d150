import Backends
import Fleet
import SQL
import Store
import Testing

/// Rule 3: a change is one transaction.
@Suite struct ChangeTests {
    /// Everything that a change may touch, as text.
    private func picture(_ store: Store) async throws -> [[SQLValue]] {
        try await store.database.read { transaction in
            var rows: [[SQLValue]] = []
            for table in ["migrations", "servers", "steps", "transitions", "reservations", "reserved_storages", "cleanups"] {
                rows += try await transaction.query(SQLStatement(parts: [.text("SELECT * FROM \(table) ORDER BY 1")])).map(\.values)
            }
            return rows
        }
    }

    enum Flaw: CaseIterable, CustomTestStringConvertible {
        case stateThatCannotFollow, noRoom, noStorage, unknownTarget, noHistory, cleanupElsewhere, placementWithoutReservation
        var testDescription: String { "\(self)" }
    }

    @Test(arguments: Backend.available, Flaw.allCases)
    func `a change with one part that fails leaves nothing of the others`(_ backend: Backend, _ flaw: Flaw) async throws {
        try await withStore(backend) { store in
            let (one, two) = (try await store.addHost("one"), try await store.addHost("two"))
            let server = try await store.addServer("web", on: one)
            let migration = try await store.advance(store.claim(server), to: .scheduling)
            func cleanup(_ host: HostID) -> Cleanup {
                Cleanup(
                    id: "c", kind: .target, migration: migration.id, server: server.id, host: host, attempt: 1, epoch: migration.epoch,
                    dueAt: .now)
            }
            func whole(_ change: inout MigrationChange) {
                change.migration.target = two.id
                change.reserve = .sample(migration.id, on: two)
                change.journal = [JournalEntry(attempt: 1, step: "place", position: 0, status: .done)]
                change.serverStatus = .liveMigrating
                change.cleanups = [cleanup(two.id)]
            }
            let before = try await picture(store)
            await refusal(flaw == .noRoom || flaw == .noStorage ? .overbooked : .invalid) {
                try await store.advance(migration, to: flaw == .stateThatCannotFollow ? .switching : .syncingDisk) { change in
                    whole(&change)
                    switch flaw {
                    case .stateThatCannotFollow: break
                    case .noRoom: change.reserve = .sample(migration.id, on: two, memoryBytes: 9 * gibibyte)
                    case .noStorage: change.reserve = .sample(migration.id, on: two, storageBytes: ["local": 1, "none": 1])
                    case .unknownTarget: change.migration.target = "none"
                    case .noHistory: change.history = nil
                    case .cleanupElsewhere: change.cleanups = [cleanup("none")]
                    case .placementWithoutReservation: change.placement = two.id
                    }
                }
            }
            #expect(try await picture(store) == before)
            try await store.advance(migration, to: .syncingDisk, whole)
            #expect(try await picture(store) != before)
        }
    }

    @Test(arguments: Backend.available)
    func `all that a row may say is kept and comes back`(_ backend: Backend) async throws {
        try await withStore(backend) { store in
            let (one, two) = (try await store.addHost("one"), try await store.addHost("two"))
            let server = try await store.addServer("web", on: one)
            var migration = try await store.bring(store.claim(server), toSwitchingOn: two)
            migration.excluded = [two.id: Reason(.targetLost, "It went \"away\".")]
            migration.reason = Reason(.stalled, "No byte moved.")
            migration.remedy = .otherTarget
            migration.awaiting = "the answer of host two"
            migration.progress = Progress(diskTotal: 1, memoryTransferred: .max, etaMS: nil)
            migration.blackout = Blackout(
                lastPassUS: 1, diskDrainUS: 2, deviceStateUS: 3, handoverUS: 4, resumeUS: 5, totalUS: 15)
            migration.dueAt = Timestamp(milliseconds: 12_345)
            migration.maxAttempts = 7
            let written = try await store.apply(MigrationChange(migration), worker: "w1")
            #expect(written == migration)
            #expect(try await store.migration(migration.id.value) == migration)
        }
    }

    @Test(arguments: Backend.available)
    func `a history row tells what the migration had just become`(_ backend: Backend) async throws {
        try await withStore(backend) { store in
            let (one, two) = (try await store.addHost("one"), try await store.addHost("two"))
            let server = try await store.addServer("web", on: one)
            let switching = try await store.bring(store.claim(server), toSwitchingOn: two)
            let reason = Reason(.switchoverTimeout, "It took too long.")
            try await store.advance(switching, to: .switching) { change in
                change.migration.direction = .rollback
                change.migration.reason = reason
                change.history = .init(from: .switching, actor: "w1", step: "hand-over", reason: reason, numbers: ["bytes": .max])
            }
            let row = try #require(try await store.history(of: switching.id).last)
            #expect(row.migration == switching.id && row.server == server.id)
            #expect(row.from == .switching && row.to == .switching && row.direction == .rollback)
            #expect(row.attempt == 1 && row.epoch == switching.epoch && row.source == one.id && row.target == two.id)
            #expect(row.actor == "w1" && row.step == "hand-over" && row.reason == reason && row.numbers == ["bytes": .max])
        }
    }

    @Test(arguments: Backend.available)
    func `a step's journal row is replaced in its attempt and kept beside those of others`(_ backend: Backend) async throws {
        try await withStore(backend) { store in
            let host = try await store.addHost("one")
            let migration = try await store.claim(store.addServer("web", on: host))
            let entries = [
                JournalEntry(attempt: 1, step: "b", position: 1, status: .started),
                JournalEntry(attempt: 1, step: "a", position: 0, status: .done, output: "{\"port\":1}"),
                JournalEntry(attempt: 2, step: "a", position: 0, status: .started),
            ]
            var change = MigrationChange(migration)
            change.journal = entries
            try await store.apply(change, worker: "w1")
            #expect(try await store.journal(of: migration.id) == [entries[1], entries[0], entries[2]])
            change.journal = [JournalEntry(attempt: 1, step: "b", position: 1, status: .compensated, output: "x")]
            try await store.apply(change, worker: "w1")
            #expect(try await store.journal(of: migration.id) == [entries[1], change.journal[0], entries[2]])
        }
    }

    @Test(arguments: Backend.available)
    func `a retry gives back target, reservation and lease, and is claimed again when due`(_ backend: Backend) async throws {
        try await withStore(backend) { store in
            let (one, two) = (try await store.addHost("one"), try await store.addHost("two"))
            let server = try await store.addServer("web", on: one)
            let switching = try await store.bring(store.claim(server), toSwitchingOn: two)
            let turned = try await store.advance(switching, to: .switching) { change in
                change.migration.direction = .rollback
                change.migration.reason = Reason(.targetLost, "It went away.")
            }
            let retry = try await store.advance(turned, to: .scheduling) { change in
                change.migration.direction = .forward
                change.migration.reason = nil
                change.migration.target = nil
                change.migration.attempt = 2
                change.release = true
                change.releaseLease = true
                change.dueInMS = 0
                change.serverStatus = .startMigrate
                change.serverNote = Reason(.targetLost, "Trying again.")
            }
            #expect(retry.target == nil && retry.attempt == 2)
            #expect(try await store.hostLoads().map(\.inboundMigrations) == [0, 0])
            #expect(try await store.server("web").note?.message == "Trying again.")
            let again = try #require(try await store.claimMigrations(worker: "w2", leaseMS: 1, limit: 1).first)
            #expect(again.id == retry.id && again.epoch == retry.epoch.next)
        }
    }

    @Test(arguments: Backend.available)
    func `the end frees the reservation also when nobody says so`(_ backend: Backend) async throws {
        try await withStore(backend) { store in
            let (one, two) = (try await store.addHost("one"), try await store.addHost("two"))
            let server = try await store.addServer("web", on: one)
            let switching = try await store.bring(store.claim(server), toSwitchingOn: two)
            try await store.advance(switching, to: .ready) { change in
                change.placement = two.id
                change.serverStatus = .running
            }
            #expect(try await store.hostLoads().map(\.inboundMigrations) == [0, 0])
            #expect(try await store.hostLoads().map(\.vcpusTaken) == [0, 1])
        }
    }

    @Test(arguments: Backend.available)
    func `a placement stands even when the host has shrunk meanwhile`(_ backend: Backend) async throws {
        try await withStore(backend) { store in
            let (one, two) = (try await store.addHost("one"), try await store.addHost("two"))
            let server = try await store.addServer("web", on: one)
            let switching = try await store.bring(store.claim(server), toSwitchingOn: two)
            try await store.recordHealth(of: two.id, facts: .sample(memoryBytes: 1), validForMS: 1)
            try await store.advance(switching, to: .ready) { change in
                change.placement = two.id
                change.serverStatus = .running
            }
            #expect(try await store.server("web").host == two.id)
        }
    }
}
