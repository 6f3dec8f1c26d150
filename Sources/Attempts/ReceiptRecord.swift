package import AgentAPI

/// Where a server's files are copied from.
package struct ReceiptRecord: Hashable, Sendable, Codable {
    /// Names of the base images that alone are copied, of a server that may run; nil for all files of a stopped one.
    package var bases: [String]?
    package var sourceAgentURL: String
    package var bandwidth: Int64?
    package var enableTLS: Bool
    package var verifies: Bool
    /// What it came to, once the files are here.
    package var report: ReceiptReport?

    package init(bases: [String]?, sourceAgentURL: String, bandwidth: Int64?, enableTLS: Bool, verifies: Bool) {
        self.bases = bases
        self.sourceAgentURL = sourceAgentURL
        self.bandwidth = bandwidth
        self.enableTLS = enableTLS
        self.verifies = verifies
    }
}
