package import Engine

extension EngineSettings {
    /// Short waits; the lease long enough for a busy machine.
    package static var quick: EngineSettings {
        var settings = EngineSettings()
        settings.leaseMS = 10_000
        settings.patience = .milliseconds(200)
        settings.shortPatience = .milliseconds(30)
        settings.retry = Backoff(base: .milliseconds(5), cap: .milliseconds(20))
        settings.awaiting = Backoff(base: .milliseconds(5), cap: .milliseconds(20))
        settings.reconnect = Backoff(base: .milliseconds(2), cap: .milliseconds(5))
        settings.cleanup = Backoff(base: .milliseconds(5), cap: .milliseconds(20))
        settings.control = .milliseconds(20)
        return settings
    }
}
