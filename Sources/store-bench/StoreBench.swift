import ArgumentParser

/// Measures the store, for `script/bench store`, which makes the databases and puts the figures together. Prints one JSON object a line.
@main
struct StoreBench: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "store-bench", abstract: "Measures a store.",
        subcommands: [
            Prepare.self, Life.self, Floor.self, Submit.self, SubmitFloor.self, CancelSubmitted.self, Fill.self, Questions.self,
            Claims.self, Wake.self,
            Running.self,
        ])
}
