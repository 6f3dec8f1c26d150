import AgentFakes
import Fleet
import Logging
import SQL
import Staging
import Store
import Synchronization
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

    @Test func `an outage is told once, with its end, however many reports fall into it`() async throws {
        try await withDesk { ground, _, migration in
            let heard = Heard()
            let desk = ProgressDesk(store: ground.store, clock: SystemClock(), log: Logger(label: "test") { _ in heard })
            ground.database.onWrite { number, moment in
                if number <= 3, moment == .before { throw SQLError(.connection, "away") }
            }
            try await withThrowingTaskGroup(of: Void.self) { group in
                group.addTask { await desk.run() }
                try await eventually("it is written") {
                    try await desk.tell(report(migration, 7))
                    return try await ground.store.migration(migration.id.value).progress?.diskDone == 7
                }
                try await eventually("that is told") { heard.lines.contains { $0.level == .notice } }
                group.cancelAll()
            }
            #expect(heard.lines.filter { $0.level >= .notice }.map(\.level) == [.warning, .notice])
            #expect(heard.lines.filter { $0.message.contains("not written") }.count == 3)
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

/// Keeps what is logged.
private final class Heard: LogHandler, Sendable {
    private let kept = Mutex<[(level: Logger.Level, message: String)]>([])

    var lines: [(level: Logger.Level, message: String)] { kept.withLock { $0 } }

    func log(event: LogEvent) { kept.withLock { $0.append((event.level, "\(event.message)")) } }

    subscript(metadataKey _: String) -> Logger.Metadata.Value? {
        get { nil }
        set {}
    }
    var metadata: Logger.Metadata {
        get { [:] }
        set {}
    }
    var metadataProvider: Logger.MetadataProvider? {
        get { nil }
        set {}
    }
    var logLevel: Logger.Level {
        get { .trace }
        set {}
    }
}
