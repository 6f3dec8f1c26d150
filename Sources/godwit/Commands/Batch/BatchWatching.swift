import Client
import Fleet
import Output

/// Follows a batch to its end.
struct BatchWatching {
    let client: GodwitClient
    /// Id or name.
    let batch: String
    /// How long to follow it; nil is to its end.
    let patience: Duration?

    /// Between two looks: the controller tells of single migrations by events, of a batch's counts when it is asked.
    private static let interval = Duration.milliseconds(500)
    /// Between two plain lines that tell the same.
    private static let lineInterval = Duration.seconds(10)
    /// How long a controller may be gone.
    private static let absence = Duration.seconds(60)

    /// - Returns: the batch once it is over.
    /// - Throws: ``CommandFailure`` when patience ended first; ``ClientError``.
    func follow(on display: MigrationWatching.Display) async throws -> BatchView {
        let start = ContinuousClock.now
        var (last, lastLine, lastAnswer) = ("", start, start)
        while true {
            let view: BatchView
            do {
                view = try await client.batch(batch)
                lastAnswer = .now
            } catch let error as ClientError where error.code == .unreachable && .now - lastAnswer < Self.absence {
                try await Task.sleep(for: Self.interval)
                continue
            }
            let isOver = view.finishedAt != nil
            let line = Self.line(view)
            switch display {
            case .nothing: break
            case .bar(let terminal):
                let bar = "\(Self.bar(view))  \(line)"
                terminal.redraw(String(bar.prefix(max(0, terminal.columns - 1))) + (isOver ? "\n" : ""))
            case .lines(let terminal):
                if isOver || line != last && (last.isEmpty || .now - lastLine >= .seconds(1)) || .now - lastLine >= Self.lineInterval {
                    terminal.write(line + "\n")
                    (last, lastLine) = (line, .now)
                }
            }
            if isOver { return view }
            if let patience, .now - start >= patience {
                if case .bar(let terminal) = display { terminal.write("\n") }
                throw CommandFailure.failed(
                    "Batch \(view.name) is \(view.status.rawValue) and goes on; follow it with batch-watch \(view.id).")
            }
            try await Task.sleep(for: Self.interval)
        }
    }

    /// `night: running  12/100 ready  1 failed  4 running  eta 3:05`
    static func line(_ batch: BatchView) -> String {
        var parts = ["\(batch.name): \(batch.status.rawValue)", "\(batch.ready)/\(batch.total) ready"]
        if batch.failed > 0 { parts.append("\(batch.failed) failed") }
        if batch.cancelled > 0 { parts.append("\(batch.cancelled) cancelled") }
        if batch.finishedAt == nil {
            parts.append("\(batch.running) running")
            if let eta = batch.etaMS { parts.append("eta \(Amounts.remaining(eta))") }
            if let held = batch.held { parts.append(held.message) }
        }
        return parts.joined(separator: "  ")
    }

    private static func bar(_ batch: BatchView) -> String {
        let width = 20
        let filled = batch.total > 0 ? (batch.total - batch.unfinished) * width / batch.total : width
        return "[" + String(repeating: "#", count: filled) + String(repeating: "-", count: width - filled) + "]"
    }

    /// Prints a batch that was just accepted, or with `--wait` what became of it.
    static func show(
        _ accepted: BatchView, _ client: GodwitClient, _ waiting: WaitOptions, _ output: OutputFormat, numbers: [Int]? = nil
    ) async throws {
        guard waiting.wait else {
            try output.print(accepted, table: BatchTables.one(accepted) + BatchTables.lines(accepted.lines ?? [], numbers))
            return
        }
        let ended = try await end(of: accepted, client, waiting)
        try output.print(ended, table: BatchTables.one(ended) + BatchTables.lines(ended.lines ?? [], numbers))
        try requireReady(ended)
    }

    /// What became of a batch, followed by a bar where a person looks.
    static func end(of batch: BatchView, _ client: GodwitClient, _ waiting: WaitOptions) async throws -> BatchView {
        let bar = Terminal.error
        let watch = BatchWatching(client: client, batch: batch.id, patience: waiting.waitTimeout)
        return try await watch.follow(on: bar.isInteractive ? .bar(bar) : .nothing)
    }

    /// - Throws: ``CommandFailure`` where anything of it failed or was cancelled.
    static func requireReady(_ batch: BatchView) throws(CommandFailure) {
        guard batch.ready < batch.total else { return }
        let cancelled = batch.cancelled > 0 ? ", \(batch.cancelled) were cancelled" : ""
        throw CommandFailure.failed(
            "Of batch \(batch.name) \(batch.failed) of \(batch.total) failed\(cancelled): see migration-list --batch \(batch.id) --state failed; batch-retry \(batch.id) tries those that failed again."
        )
    }
}
