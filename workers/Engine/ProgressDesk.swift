import Fleet
import Logging
import Store

/// Writes down how far a worker's migrations are, all that told something since the last time in one statement.
///
/// Nobody waits for it: what is told again before it was written is written once. The more there are the seldomer it writes, so that a thousand
/// migrations cost the store no more than ``rowsPerSecond``.
actor ProgressDesk {
    private let store: Store
    private let clock: any EngineClock
    private let log: Logger
    private let bell = Bell()
    private(set) var told: [MigrationID: ProgressReport] = [:]
    /// Being written at this moment.
    private var underWay: Set<MigrationID> = []
    private var superseded: Set<MigrationID> = []
    private var waiters: [CheckedContinuation<Void, Never>] = []
    /// Writings that failed since the last that did not.
    private var failures = 0

    static let rowsPerSecond = 500

    init(store: Store, clock: any EngineClock, log: Logger) {
        self.store = store
        self.clock = clock
        self.log = log
    }

    /// Takes a report.
    ///
    /// - Throws: ``Superseded`` when an earlier one of the migration was refused since ``withdraw(_:)``.
    func tell(_ report: ProgressReport) throws {
        guard !superseded.contains(report.migration) else { throw Superseded() }
        told[report.migration] = report
        bell.ring()
    }

    /// What was told of a migration and is not written yet never will be: its row is about to be written as a whole, with newer figures, or it is
    /// out of this worker's hands.
    func withdraw(_ migration: MigrationID) async {
        told[migration] = nil
        superseded.remove(migration)
        while underWay.contains(migration) {
            await withCheckedContinuation { waiters.append($0) }
        }
    }

    /// Writes until the task is cancelled.
    func run() async {
        while !Task.isCancelled {
            await bell.sleep(atMost: nil, clock: clock)
            let reports = Array(told.values)
            guard !reports.isEmpty else { continue }
            told = [:]
            underWay = Set(reports.map(\.migration))
            do {
                superseded.formUnion(try await store.recordProgress(reports))
                if failures > 0 { log.notice("progress is written again", metadata: ["failures": "\(failures)"]) }
                failures = 0
            } catch is CancellationError {
                // The worker ends, which is no failure of the store's.
            } catch {
                // The next report says more, so that nothing is lost but what is shown meanwhile; told once, not at every report.
                failures += 1
                log.log(
                    level: failures == 1 ? .warning : .debug, "progress is not written: what is shown of migrations stands still",
                    metadata: ["error": "\(error)", "migrations": "\(reports.count)"])
            }
            underWay = []
            for waiter in waiters { waiter.resume() }
            waiters = []
            do {
                try await clock.sleep(for: .seconds(1) * reports.count / Self.rowsPerSecond)
            } catch {
                return
            }
        }
    }
}
