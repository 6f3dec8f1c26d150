import ArgumentParser
import Client
import Fleet
import Foundation
import Output

struct HistoryExport: ControllerCommand {
    static let configuration = CommandConfiguration(
        abstract: "Write the history to standard output, oldest first, a row a line.",
        discussion: """
            It is written page by page as it is read: a history of any length needs no more memory, and one that is written on meanwhile is \
            told up to its end.
            """)

    enum Format: String, CaseIterable, ExpressibleByArgument {
        case jsonl, csv
    }

    @Option(help: "jsonl: a JSON object a line; csv: RFC 4180, with a header.")
    var format = Format.jsonl

    @OptionGroup var options: HistoryOptions
    @OptionGroup var connection: ConnectionOptions

    func run(_ client: GodwitClient) async throws {
        if format == .csv { Terminal.output.write(HistoryCSV.header) }
        var after: String?
        repeat {
            let page = try await client.history(options.query, order: .asc, after: after, limit: ListQuery.most)
            Terminal.output.write(format == .csv ? page.items.map(HistoryCSV.line).joined() : try HistoryLines.text(page.items))
            after = page.next
        } while after != nil
    }
}

/// The history as comma-separated values (RFC 4180).
enum HistoryCSV {
    static let header =
        "sequence,at,migration,server_id,server,mode,from,to,direction,attempt,epoch,source_id,source,target_id,target,actor,step,reason_code,reason_message,numbers,hash\r\n"

    static func line(_ row: TransitionView) -> String {
        let numbers = row.numbers.sorted { $0.key < $1.key }.map { "\($0.key)=\($0.value)" }.joined(separator: " ")
        let fields: [String?] = [
            String(row.sequence), row.at.description, row.migration, row.server.id, row.server.name, row.mode.rawValue, row.from?.rawValue,
            row.to.rawValue, row.direction.rawValue, String(row.attempt), String(row.epoch), row.sourceHost.id, row.sourceHost.name,
            row.targetHost?.id, row.targetHost?.name, row.actor, row.step, row.reason?.code.value, row.reason?.message, numbers, row.hash,
        ]
        return fields.map { escaped($0 ?? "") }.joined(separator: ",") + "\r\n"
    }

    private static func escaped(_ text: String) -> String {
        guard text.unicodeScalars.contains(where: { [",", "\"", "\n", "\r"].contains($0) }) else { return text }
        return "\"\(text.replacing("\"", with: "\"\""))\""
    }
}
