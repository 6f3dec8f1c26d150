import ArgumentParser

/// Whether to wait for a migration's end.
struct WaitOptions: ParsableArguments {
    @Flag(help: "Wait for the migration's end; exit code 1 if it failed.")
    var wait = false

    @Option(
        help: ArgumentHelp("With --wait: no longer than this (90, 90s, 5m); the migration goes on.", valueName: "time"),
        transform: { try TimeSpan.positive($0, like: "90, 90s or 5m") })
    var waitTimeout: Duration?

    func validate() throws {
        if waitTimeout != nil && !wait { throw ValidationError("--wait-timeout has a meaning only with --wait.") }
    }
}
