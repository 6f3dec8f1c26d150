import ArgumentParser

/// Whether to wait for the end of what was cancelled.
struct CancelWaitOptions: ParsableArguments {
    @Flag(help: "Wait until all of them are over; exit code 1 if one was not cancelled.")
    var wait = false

    @Option(
        help: ArgumentHelp("With --wait: no longer than this (90, 90s, 5m).", valueName: "time"),
        transform: { try TimeSpan.positive($0, like: "90, 90s or 5m") })
    var waitTimeout: Duration?

    func validate() throws {
        if waitTimeout != nil && !wait { throw ValidationError("--wait-timeout has a meaning only with --wait.") }
    }
}
