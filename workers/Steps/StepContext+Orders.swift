package import AgentAPI
package import Engine
package import Fleet

/// What every order to an agent carries.
extension StepContext {
    package var key: AttemptKey { AttemptKey(migration: migration.id, attempt: migration.attempt) }
    package var server: ServerID { migration.server }
    package var epoch: Epoch { migration.epoch }
    /// Bytes a second.
    package var bandwidth: Int64? { migration.options.bandwidth }
}

extension MigrationOptions {
    /// Bytes a second over all streams; nil without limit.
    package var bandwidth: Int64? { maxBandwidthMB.map { $0 * 1_000_000 } }
}
