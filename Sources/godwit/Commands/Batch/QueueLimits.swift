import ArgumentParser
import Client
import Output

struct QueueLimits: ControllerCommand {
    static let configuration = CommandConfiguration(
        abstract: "Show or set how many migrations may be under way at once in the whole cluster.",
        usage: Usage.line("queue-limits", ["--cluster N|none"]),
        discussion: """
            Single ones and those of batches count together, rescues too. What is under way when the limit is lowered goes on; nothing more \
            begins until there is room. A host's own limits are set by host-set-slots, a batch's by --max-parallel.
            """)

    @Option(
        parsing: .unconditional,
        help: ArgumentHelp("At most so many, 0 to 100000; 0 lets nothing begin, none takes the limit away.", valueName: "N|none"),
        transform: { text in
            text == "none" ? .unlimited : .most(Int(try Numbers.whole(text, in: 0...100_000, unit: "migrations, or none")))
        })
    var cluster: Limit?

    enum Limit {
        case unlimited
        case most(Int)
    }

    @OptionGroup var output: OutputOptions
    @OptionGroup var connection: ConnectionOptions

    func run(_ client: GodwitClient) async throws {
        let view: QueueView =
            switch cluster {
            case nil: try await client.queueLimits()
            case .unlimited: try await client.setQueueLimits(QueueLimitsRequest(cluster: nil))
            case .most(let number): try await client.setQueueLimits(QueueLimitsRequest(cluster: number))
            }
        let table = Table(fields: [
            "cluster": view.cluster.map { String($0) } ?? "none",
            "running": String(view.running),
            "waiting": String(view.waiting),
            "changed_by": view.changedBy,
            "changed_at": view.changedAt?.description,
        ])
        try output.output.print(view, table: table.text)
    }
}
