package import AgentAPI
package import Engine
package import Fleet

/// What every order to an agent carries.
extension StepContext {
    package var key: AttemptKey { AttemptKey(migration: migration.id, attempt: migration.attempt) }
    package var server: ServerID { migration.server }
    package var epoch: Epoch { migration.epoch }
    /// How a live migration's streams are to travel.
    package var streams: StreamOptions {
        let options = migration.options
        return StreamOptions(isEncrypted: options.enableTLS, channels: options.multifd, isPostCopyAllowed: options.postCopy)
    }
    /// Bytes a second.
    package var bandwidth: Int64? { migration.options.bandwidth }
}

extension MigrationOptions {
    /// Bytes a second over all streams; nil without limit.
    package var bandwidth: Int64? { maxBandwidthMB.map { $0 * 1_000_000 } }
}
