import Client
import Crypto
import Fleet
import Foundation
import Store

/// A batch as it is asked for: what the body of a request says, not yet held against anything.
struct BatchOrder {
    let name: String?
    let servers: [String]?
    let selection: BatchRequest.Selection?
    let mode: BatchMode
    let priority: Int
    let maxParallel: Int?
    let maxFailures: FailureLimit?
    let startAt: WireTime?
    let skipsInvalid: Bool
    let token: String?
    let live: MigrationRequest
    let cold: MigrationRequest

    static let tokenLength = 200

    init(_ fields: inout Fields) throws {
        name = try fields.string("name")
        servers = try fields.strings("servers", limit: BatchDraft.most)
        selection = try fields.object("selection") { fields in
            BatchRequest.Selection(
                fromHost: try fields.string("from_host"), filter: try fields.strings("filter", limit: 100),
                search: try fields.string("search"))
        }
        mode = try fields.choice("mode", BatchMode.self) ?? .auto
        priority = try API.priority(&fields)
        maxParallel = try fields.integer("max_parallel", in: 1...100_000, unit: "migrations").map { Int($0) }
        maxFailures = try Self.maxFailures(&fields)
        startAt = try fields.time("start_at")
        skipsInvalid = try fields.boolean("skip_invalid") ?? false
        token = try fields.string("token")
        live =
            try fields.object("live", MigrationRequest.live) ?? MigrationRequest(mode: .live, options: MigrationOptions(), preferHost: nil)
        cold =
            try fields.object("cold", MigrationRequest.coldOrRescue)
            ?? MigrationRequest(mode: .cold, options: MigrationOptions(), preferHost: nil)
        try fields.finish()
        if let name { try Names.check(name, field: "name") }
        if let token, token.utf8.count > Self.tokenLength {
            throw Problem.invalid("token", "token has \(token.utf8.count) bytes; it may have at most \(Self.tokenLength).")
        }
        guard cold.mode == .cold else {
            throw Problem.invalid(
                "cold.rescue_mode", "A batch moves servers live or cold; rescue them one by one with …/migrate and rescue_mode.")
        }
        guard (servers == nil) != (selection == nil) else {
            throw Problem.invalid("servers", "Give either servers or a selection.")
        }
        if let servers, servers.isEmpty { throw Problem.invalid("servers", "servers is empty; name one at least.") }
        if let selection, selection == BatchRequest.Selection() {
            throw Problem.invalid("selection", "selection is empty; give from_host, filter or search.")
        }
    }

    private static func maxFailures(_ fields: inout Fields) throws -> FailureLimit? {
        guard let text = try fields.string("max_failures") else { return nil }
        guard let limit = FailureLimit(text) else {
            throw Problem.invalid(
                "max_failures", "max_failures is “\(text)”; it must be a number from 1 to 1000000, or a share from 1% to 100%.")
        }
        return limit
    }

    /// Of all that decides what the batch is, whatever the fleet was like when it was sent.
    var digest: String {
        get throws {
            struct Meaning: Encodable {
                let servers: [String]?
                let selection: BatchRequest.Selection?
                let words: [String?]
                let options: [MigrationOptions]
            }
            let meaning = Meaning(
                servers: servers, selection: selection,
                words: [
                    name, mode.rawValue, String(priority), maxParallel.map { String($0) }, maxFailures?.description, startAt?.description,
                    String(skipsInvalid), live.preferHost, cold.preferHost,
                ],
                options: [live.options, cold.options])
            return SHA256.hash(data: try JSONEncoder.api.encode(meaning)).map { byte in
                (byte < 16 ? "0" : "") + String(byte, radix: 16)
            }.joined()
        }
    }
}
