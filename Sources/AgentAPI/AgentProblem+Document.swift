import Fleet
package import Foundation

extension AgentProblem {
    /// The HTTP status that it is answered with.
    package var status: Int {
        switch kind {
        case .invalid: 400
        case .forbidden: 403
        case .notFound: 404
        case .staleEpoch, .owned, .conflict: 409
        case .failed: 500
        case .unreachable: 503
        }
    }

    /// The problem as `application/problem+json` (RFC 9457), with our members `kind` and `reason`.
    package func document() throws -> Data {
        try JSONEncoder().encode(Document(title: kind.rawValue, status: status, detail: reason.message, kind: kind, reason: reason))
    }

    private struct Document: Encodable {
        let type = "about:blank"
        let title: String
        let status: Int
        let detail: String
        let kind: Kind
        let reason: Reason
    }
}
