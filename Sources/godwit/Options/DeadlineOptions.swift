import ArgumentParser
import Client

/// When a migration is given up.
struct DeadlineOptions: ParsableArguments {
    @Option(
        help: ArgumentHelp(
            "Give it up when an attempt takes longer (90, 90s, 5m, 2h; at most 30d). 15 minutes and three times what all bytes take when left out.",
            valueName: "time"),
        transform: { try Numbers.seconds($0, in: MigrationBounds.timeoutS) })
    var timeout: Int64?

    @Option(
        help: ArgumentHelp("Try another target when no byte moves for so long (5s to 1d). 60s when left out.", valueName: "time"),
        transform: { try Numbers.seconds($0, in: MigrationBounds.stallTimeoutS) })
    var stallTimeout: Int64?
}
