import Fleet
import Logging
import Store

/// What its steps tell, and how long they may take.
extension MigrationRun: StepReporting {
    func context(for step: any Step) -> StepContext {
        var log = log
        log[metadataKey: "step"] = "\(step.name)"
        return StepContext(
            migration: migration, journal: journal.filter { $0.attempt == migration.attempt }, worker: worker, clock: clock,
            settings: settings, log: log, run: self)
    }

    func options() -> MigrationOptions { migration.options }

    func report(_ progress: Progress, activity: Int64) async throws {
        let still = stall.saw(progress, activity: activity, at: clock.now())
        let limit = migration.options.stallTimeoutS
        if hasDeadline, still > .seconds(limit) {
            let way = await wayName()
            throw Fault(
                .stalled,
                "No byte has moved \(way) for \(limit) s, the stall deadline. Look at the link between them, or allow longer with --stall-timeout.",
                remedy: .otherTarget)
        }
        // Kept in memory at any rate, so that no later write of the whole row takes the counters back.
        migration.progress = progress
        if migration.awaiting != nil { return try await commit(draft()) }
        let now = clock.now()
        if let lastProgress, now - lastProgress < Self.progressInterval { return }
        lastProgress = now
        try await desk.tell(ProgressReport(id, epoch: epoch, progress))
    }

    private static let progressInterval = Duration.milliseconds(300)

    func note(_ events: [PolicyEvent], output: String) async throws {
        var draft = draft()
        draft.mark(stepUnderWay, .started, output: output)
        for event in events { draft.note(event, step: plan.steps[stepUnderWay].name) }
        try await commit(draft)
    }

    // MARK: deadlines

    func timedOut() async -> Fault {
        let limit = deadlineMS.map { "\($0 / 1000) s" } ?? "its time"
        var message = "The migration \(await wayName()) was not through within \(limit), the completion deadline."
        if let progress = migration.progress {
            message +=
                " Sent so far: \(progress.diskDone >> 20) of \(progress.diskTotal >> 20) MiB of disk, \(progress.memoryTransferred >> 20) MiB for \(progress.memoryTotal >> 20) MiB of memory."
        }
        return Fault(.timedOut, message + " Allow it longer with --timeout, or more bandwidth with --max-bandwidth-mb.", remedy: .none)
    }

    /// `from host1 to host2`, for a sentence.
    private func wayName() async -> String {
        func name(_ host: HostID) async -> String {
            do { return try await store.host(host.value).name } catch { return host.value }
        }
        let source = await name(migration.source)
        guard let target = migration.target else { return "from \(source)" }
        return "from \(source) to \(await name(target))"
    }
}
