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

    /// What may be taken now: somebody may have changed it since the last commit.
    package func options() async -> MigrationOptions { await run.options() }

    /// Tells how far it is. Cheap to call often: not each call is written.
    ///
    /// - Parameter activity: a count that grows while the step gets on in a way that `progress` does not show, such as bytes compared.
    /// - Throws: ``Superseded``; ``Fault`` `stalled` when it was told again and again and nothing has moved for the migration's stall
    ///   deadline. Time between two reports counts for three seconds at most, for an agent that does not answer says nothing about its streams.
    package func report(_ progress: Progress, activity: Int64 = 0) async throws {
        try Task.checkCancellation()
        try await run.report(progress, activity: activity)
    }

    /// Puts things that an operator should know into the history, each in a row of its own, together with what this step must remember.
    ///
    /// - Throws: ``Superseded``.
    package func note(_ events: [PolicyEvent], output: some Encodable) async throws {
        try Task.checkCancellation()
        try await run.note(events, output: StepOutput.encode(output))
    }
}

/// The running migration as its steps see it.
protocol StepReporting: Sendable {
    func options() async -> MigrationOptions
    func report(_ progress: Progress, activity: Int64) async throws
    func note(_ events: [PolicyEvent], output: String) async throws
}
