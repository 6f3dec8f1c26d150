import Client
import Foundation
import Hummingbird

/// Who may ask, by a secret that they show (RFC 6750).
package struct BearerTokens: Sendable {
    private let entries: [(name: String, token: [UInt8])]

    /// - Parameter text: One token a line, after its owner's name where it has one: `alice 4f1c…`. Empty lines and those that begin
    ///   with `#` do not count. A token without a name is `operator`'s.
    /// - Throws: ``Problem`` `invalid-request` for a line with more words, or when there is no token at all.
    package init(text: String) throws {
        var entries: [(name: String, token: [UInt8])] = []
        for (number, line) in text.split(separator: "\n", omittingEmptySubsequences: false).enumerated() {
            let words = line.split(whereSeparator: \.isWhitespace)
            guard let last = words.last, !line.hasPrefix("#") else { continue }
            guard words.count <= 2, last.utf8.count >= Self.shortest else {
                throw Problem.invalid(
                    nil, "Line \(number + 1) of the token file is no “name token” with a token of at least \(Self.shortest) characters.")
            }
            entries.append((words.count == 2 ? String(words[0]) : "operator", Array(last.utf8)))
        }
        guard !entries.isEmpty else { throw Problem.invalid(nil, "The token file holds no token; write one line with a long random word.") }
        self.entries = entries
    }

    private static let shortest = 16

    /// The owner of the token in an `Authorization` header; nil when there is none.
    package func owner(authorization: String?) -> String? {
        guard let authorization else { return nil }
        let words = authorization.split(separator: " ", maxSplits: 1)
        guard words.count == 2, words[0].lowercased() == "bearer" else { return nil }
        let shown = Array(words[1].utf8)
        var owner: String?
        // All of them are compared, each in full, so that the time tells nothing of how much was right.
        for entry in entries where Self.equal(entry.token, shown) && owner == nil { owner = entry.name }
        return owner
    }

    /// In a time that depends on the lengths alone.
    private static func equal(_ known: [UInt8], _ shown: [UInt8]) -> Bool {
        var difference: UInt8 = known.count == shown.count ? 0 : 1
        for index in shown.indices { difference |= shown[index] ^ known[index % known.count] }
        return difference == 0
    }
}

/// Refuses (401) what shows no valid token, but for the paths that are open to all.
struct BearerMiddleware: RouterMiddleware {
    let tokens: BearerTokens
    let openPaths: Set<String>

    func handle(
        _ request: Request, context: APIContext, next: (Request, APIContext) async throws -> Response
    ) async throws -> Response {
        if openPaths.contains(request.uri.path) { return try await next(request, context) }
        guard let owner = tokens.owner(authorization: request.headers[.authorization]) else {
            throw Problem(
                status: 401, code: "unauthorized",
                "The request shows no token that this controller knows; give it as “Authorization: Bearer …”.")
        }
        var context = context
        context.actor = owner
        return try await next(request, context)
    }
}
