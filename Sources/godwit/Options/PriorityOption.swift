import ArgumentParser
import Client

/// Which of those that wait begins first.
struct PriorityOption: ParsableArguments {
    @Option(
        parsing: .unconditional, help: ArgumentHelp("-100 to 100: higher ones begin first. 0 when left out.", valueName: "N"),
        transform: { try Numbers.whole($0, in: MigrationBounds.priority, unit: "priority") })
    var priority: Int64?
}
