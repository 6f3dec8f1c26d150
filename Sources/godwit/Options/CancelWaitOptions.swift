import ArgumentParser

/// Whether to wait for the end of what was cancelled.
struct CancelWaitOptions: ParsableArguments {
    @Flag(help: "Wait until all of them are over; exit code 1 if one was not cancelled.")
    var wait = false

    @Option(
        help: ArgumentHelp("With --wait: no longer than this (90, 90s, 5m).", valueName: "time"),
        transform: { text in
            guard let span = TimeSpan.duration(text), span > .zero else {
                throw ValidationError("write a time like 90, 90s or 5m.")
            }
            return span
        })
    var waitTimeout: Duration?

    func validate() throws {
        if waitTimeout != nil && !wait { throw ValidationError("--wait-timeout has a meaning only with --wait.") }
    }
}
