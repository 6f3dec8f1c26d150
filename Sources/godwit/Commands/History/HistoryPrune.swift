import ArgumentParser
import Client
import Fleet
import Foundation
import Output

struct HistoryPrune: ControllerCommand {
    static let configuration = CommandConfiguration(
        abstract: "Archive the history of old migrations in a file, then take it out of the store.",
        discussion: """
            Nothing of the history ever goes by itself: run this by hand or from cron. Of finished migrations only; what came of them stays, \
            and so do the figures of history-stats. In the place of the rows of each a mark stays, which history-verify knows. The rows are \
            on the file's disk before any of them goes; what is written to a history meanwhile keeps it whole until the next time.
            """)

    @Option(
        help: ArgumentHelp(
            "Of migrations that ended longer ago than this: 90d, 12h; or before a time, as of --since of history.", valueName: "time"),
        transform: { try Moment.parse($0, field: "older-than") })
    var olderThan: WireTime?

    @Option(help: ArgumentHelp("Of all migrations but so many that ended last.", valueName: "number"))
    var keep: Int?

    @Option(
        help: ArgumentHelp("The file that the rows go to, one JSON object a line as of history-export; a new one.", valueName: "file"),
        completion: .file())
    var archive: String?

    @Flag(help: "Only tell how much would go.")
    var dryRun = false

    @OptionGroup var connection: ConnectionOptions

    func validate() throws {
        guard (olderThan == nil) != (keep == nil) else { throw ValidationError("Give one of --older-than and --keep.") }
        if let keep, keep < 0 { throw ValidationError("--keep must not be negative.") }
        guard (archive == nil) == dryRun else {
            throw ValidationError("Give --archive FILE, which the rows are written to before they go, or --dry-run.")
        }
    }

    private var retention: RetentionQuery { olderThan.map(RetentionQuery.finishedBefore) ?? .keeping(keep ?? 0) }

    func run(_ client: GodwitClient) async throws {
        // Whole, since the mark tells it to others in other places.
        guard let archive = archive.map({ URL(fileURLWithPath: $0).standardizedFileURL.path }) else { return try await tell(client) }
        var file: ArchiveFile?
        var pruned = Pruned()
        var after: String?
        repeat {
            let page = try await client.prunableHistory(retention, after: after)
            after = page.next
            guard !page.items.isEmpty else { continue }
            if file == nil { file = try ArchiveFile(creating: archive) }
            let stories = try await Self.eachOf(page.items.map(\.migration)) { try await client.history(of: $0).items }
            for story in stories { try file?.write(HistoryLines.text(story)) }
            try file?.synchronize()
            for gone in try await Self.eachOf(stories, { try await Self.prune($0, client, archive) }) { pruned.add(gone) }
        } while after != nil
        try file?.close()
        Terminal.output.write(
            pruned.migrations == 0
                ? "There was nothing to prune.\n"
                : "\(pruned.rows) rows of \(pruned.migrations) migrations are in \(archive) and out of the store.\n")
        if let first = pruned.refusals.first {
            throw CommandFailure.failed("The history of \(pruned.refusals.count) migrations was left whole. \(first)")
        }
    }

    private func tell(_ client: GodwitClient) async throws {
        var (rows, migrations) = (0, 0)
        var after: String?
        repeat {
            let page = try await client.prunableHistory(retention, after: after, limit: ListQuery.most)
            rows += page.items.reduce(0) { $0 + $1.rows }
            migrations += page.items.count
            after = page.next
        } while after != nil
        Terminal.output.write("\(rows) rows of \(migrations) migrations would go.\n")
    }

    private struct Pruned: Sendable {
        var migrations = 0
        var rows = 0
        /// Why some were left whole.
        var refusals: [String] = []

        mutating func add(_ other: Pruned) {
            migrations += other.migrations
            rows += other.rows
            refusals += other.refusals
        }
    }

    private static func prune(_ story: [TransitionView], _ client: GodwitClient, _ archive: String) async throws -> Pruned {
        guard let last = story.last else { return Pruned() }
        do {
            _ = try await client.pruneHistory(
                of: last.migration, PruneHistoryRequest(rows: story.count, lastSequence: last.sequence, archive: archive))
            return Pruned(migrations: 1, rows: story.count)
        } catch let error as ClientError where error.problem?.status == 409 {
            return Pruned(refusals: [error.message])
        }
    }

    /// A few at a time, answers in the order of what was asked.
    private static func eachOf<Item: Sendable, Answer: Sendable>(
        _ items: [Item], _ ask: @escaping @Sendable (Item) async throws -> Answer
    ) async throws -> [Answer] {
        try await withThrowingTaskGroup(of: (Int, Answer).self) { group in
            var answers: [Int: Answer] = [:]
            for (index, item) in items.enumerated() {
                if index >= 8, let (place, answer) = try await group.next() { answers[place] = answer }
                group.addTask { (index, try await ask(item)) }
            }
            for try await (place, answer) in group { answers[place] = answer }
            return items.indices.compactMap { answers[$0] }
        }
    }
}
