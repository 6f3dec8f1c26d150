import Client
import Fleet
import Output

/// Follows one migration to its end.
struct MigrationWatching {
    let client: GodwitClient
    /// Id, or its unique beginning.
    let migration: String
    /// How long to follow it; nil is to its end.
    let patience: Duration?

    enum Display {
        case nothing
        /// One line, redrawn in place.
        case bar(Terminal)
        /// A line at each change of state, and now and then in between.
        case lines(Terminal)
    }

    /// Between two plain lines of the same state.
    private static let lineInterval = Duration.seconds(2)

    /// - Returns: the migration in `ready` or `failed`.
    /// - Throws: ``CommandFailure`` when patience ended first; ``ClientError``.
    func follow(on display: Display) async throws -> MigrationView {
        let client = client
        let migration = migration
        let patience = patience
        return try await withThrowingTaskGroup(of: MigrationView?.self) { group in
            group.addTask { try await Self.watch(client, migration, display) }
            if let patience {
                group.addTask {
                    try await Task.sleep(for: patience)
                    return nil
                }
            }
            let first = try await group.next() ?? nil
            group.cancelAll()
            if let ended = first { return ended }
            if case .bar(let terminal) = display { terminal.write("\n") }
            let now = try await client.migration(migration)
            if now.state.isFinished { return now }
            throw CommandFailure.failed(
                "Migration \(now.id) of \(now.server.name) is still \(now.state.rawValue) and goes on; follow it with migration-watch \(now.id)."
            )
        }
    }

    private static func watch(_ client: GodwitClient, _ migration: String, _ display: Display) async throws -> MigrationView? {
        var drawing = ProgressBar()
        var last: MigrationView?
        var lastLine = ContinuousClock.now
        for try await view in client.watchMigration(migration) {
            switch display {
            case .nothing:
                break
            case .bar(let terminal):
                terminal.redraw(view.state.isFinished ? ProgressBar.end(view) + "\n" : drawing.line(view, columns: terminal.columns))
            case .lines(let terminal):
                let moved = last?.state != view.state || last?.direction != view.direction || last?.awaiting != view.awaiting
                if view.state.isFinished {
                    terminal.write(ProgressBar.end(view) + "\n")
                } else if moved || ContinuousClock.now - lastLine >= Self.lineInterval {
                    terminal.write(drawing.plain(view) + "\n")
                    lastLine = .now
                }
            }
            last = view
        }
        guard let last else {
            throw CommandFailure.failed("The controller told nothing of migration \(migration); try again.")
        }
        return last
    }

    /// Prints a migration that was just accepted, or with `--wait` what became of it.
    static func show(_ accepted: MigrationView, _ client: GodwitClient, _ waiting: WaitOptions, _ output: OutputFormat) async throws {
        guard waiting.wait else {
            try output.print(accepted, table: MigrationTables.one(accepted))
            return
        }
        let bar = Terminal.error
        let watch = MigrationWatching(client: client, migration: accepted.id, patience: waiting.waitTimeout)
        let ended = try await watch.follow(on: bar.isInteractive ? .bar(bar) : .nothing)
        try output.print(ended, table: MigrationTables.one(ended))
        try requireReady(ended)
    }

    /// - Throws: ``CommandFailure`` with the reason of a migration that failed.
    static func requireReady(_ migration: MigrationView) throws {
        guard migration.state == .failed else { return }
        let why = migration.reason.map { " (\($0.code)): \($0.message)" } ?? ", and no reason was given."
        throw CommandFailure.failed("Migration \(migration.id) of \(migration.server.name) failed\(why)")
    }
}

extension OutputOptions {
    /// Where something that is followed shows how far it is: what is printed at its end as JSON or YAML stays alone on the output.
    var display: MigrationWatching.Display {
        switch output {
        case .table: Terminal.output.isInteractive ? .bar(.output) : .lines(.output)
        case .json, .yaml: Terminal.error.isInteractive ? .bar(.error) : .nothing
        }
    }
}
