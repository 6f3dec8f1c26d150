import AgentFakes
import Fleet
import Staging
import Store
import Testing

@testable import Engine

@Suite
struct ProgressDeskTests {
    private func report(_ migration: Migration, _ done: Int64) throws -> ProgressReport {
        try ProgressReport(migration.id, epoch: migration.epoch, Progress(diskTotal: 100, diskDone: done))
    }

    private func withDesk(_ body: (Ground, ProgressDesk, Migration) async throws -> Void) async throws {
        try await withGround { ground in
            _ = try await ground.submit()
            let migration = try #require(try await ground.store.claimMigrations(worker: "w1", leaseMS: 60_000, limit: 1).first)
            let desk = ProgressDesk(store: ground.store, clock: SystemClock(), log: .silent)
            try await body(ground, desk, migration)
        }
    }

    @Test func `what is told is written, the last of it`() async throws {
        try await withDesk { ground, desk, migration in
            for done in 1...50 { try await desk.tell(report(migration, Int64(done))) }
            await withTaskGroup(of: Void.self) { group in
                group.addTask { await desk.run() }
                await #expect(throws: Never.self) {
                    try await eventually("the last is written") {
                        try await ground.store.migration(migration.id.value).progress?.diskDone == 50
                    }
                }
                group.cancelAll()
            }
        }
    }

    @Test func `what was withdrawn is not written, and nothing of it is under way any more`() async throws {
        try await withDesk { ground, desk, migration in
            let (begun, goOn) = (Latch(), Latch())
            ground.database.onWrite { number, moment in
                guard number == 1, moment == .before else { return }
                begun.set()
                await goOn.wait()
            }
            try await withThrowingTaskGroup(of: Void.self) { group in
                group.addTask { await desk.run() }
                try await desk.tell(report(migration, 1))
                await begun.wait()
                try await desk.tell(report(migration, 2))
                group.addTask { await desk.withdraw(migration.id) }
                try await eventually("the second is withdrawn") { await desk.told.isEmpty }
                goOn.set()
                try await group.next()
                #expect(try await ground.store.migration(migration.id.value).progress?.diskDone == 1)
                try await desk.tell(report(migration, 3))
                try await eventually("the third is written") {
                    try await ground.store.migration(migration.id.value).progress?.diskDone == 3
                }
                #expect(ground.database.writes == 2)
                group.cancelAll()
            }
        }
    }

    @Test func `whoever was superseded is told so at its next report`() async throws {
        try await withDesk { ground, desk, migration in
            let zombie = try ProgressReport(migration.id, epoch: Epoch(migration.epoch.value - 1), Progress())
            try await desk.tell(zombie)
            await withTaskGroup(of: Void.self) { group in
                group.addTask { await desk.run() }
                await #expect(throws: Superseded.self) {
                    try await eventually("it is refused") {
                        try await desk.tell(zombie)
                        return false
                    }
                }
                group.cancelAll()
            }
        }
    }
}
