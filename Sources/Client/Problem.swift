package import Fleet

/// A refusal or failure as the controller tells it: `application/problem+json` (RFC 9457).
package struct Problem: Error, Hashable, Sendable, Codable, CustomStringConvertible {
    /// `urn:godwit:problem:` and the code.
    package var type: String
    /// The code in words, the same for every problem of that code.
    package var title: String
    /// The HTTP status.
    package var status: Int
    /// A whole sentence for a person: what was refused and what to do.
    package var detail: String
    /// A short, stable word for programs: `not-found`, `busy`, `invalid-request`, ….
    package var code: String
    /// The field of the request that is to blame, as a path (`disks[1].size_bytes`).
    package var field: String?
    /// The lines of a batch's submit that are to blame, all of them.
    package var lines: [BatchFlaw]?

    package init(status: Int, code: String, title: String, detail: String, field: String? = nil, lines: [BatchFlaw]? = nil) {
        self.type = "urn:godwit:problem:\(code)"
        self.title = title
        self.status = status
        self.detail = detail
        self.code = code
        self.field = field
        self.lines = lines
    }

    package var description: String { "\(code): \(detail)" }
}
