package import Fleet
package import Logging

/// What a step gets to work with.
package struct StepContext: Sendable {
    /// As of the last commit.
    package let migration: Migration
    /// Of this attempt.
    package let journal: [JournalEntry]
    package let worker: String
    package let clock: any EngineClock
    package let settings: EngineSettings
    package let log: Logger
    let run: any StepReporting

    /// What an earlier step of this attempt found out, or this one before its worker died; nil when there is nothing.
    package func output<T: Decodable>(of step: String, as type: T.Type = T.self) throws -> T? {
        guard let text = journal.first(where: { $0.step == step })?.output else { return nil }
        return try StepOutput.decode(type, text)
    }

    /// What is left to do elsewhere, under this attempt's key.
    package func cleanup(_ kind: Cleanup.Kind, on host: HostID) -> Cleanup {
        Cleanup(
            id: "\(migration.id)-\(migration.attempt)-\(kind.rawValue)", kind: kind, migration: migration.id, server: migration.server,
            host: host, attempt: migration.attempt, epoch: migration.epoch, dueAt: .now)
    }

    /// Tells how far it is. Cheap to call often: not each call is written.
    ///
    /// - Throws: ``Superseded``.
    package func report(_ progress: Progress) async throws {
        try Task.checkCancellation()
        try await run.report(progress)
    }

    /// Puts something that an operator should know into the history, together with what this step must remember about it.
    ///
    /// - Throws: ``Superseded``.
    package func note(_ reason: Reason, output: some Encodable) async throws {
        try Task.checkCancellation()
        try await run.note(reason, output: StepOutput.encode(output))
    }
}

/// The running migration as its steps see it.
protocol StepReporting: Sendable {
    func report(_ progress: Progress) async throws
    func note(_ reason: Reason, output: String) async throws
}
