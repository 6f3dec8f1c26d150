import ArgumentParser

/// Words that the shell offers: names and ids that the controller tells while somebody types.
///
/// Asked by a command of its own rather than by the parser's way for that, which would make every parse an asynchronous one.
enum Completions {
    static let servers = kind(.servers)
    static let hosts = kind(.hosts)
    static let migrations = kind(.migrations)
    static let unfinishedMigrations = kind(.unfinishedMigrations)

    static let batches = kind(.batches)

    private static func kind(_ things: CompletionNames.Things) -> CompletionKind {
        .shellCommand("\(Godwit.program) completion-names \(things.rawValue) 2>/dev/null")
    }
}
