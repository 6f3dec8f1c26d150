package import AgentAPI
package import Fleet

/// A loan, as it is on the disk.
package struct LoanRecord: Hashable, Sendable, Codable {
    package var epoch: Epoch
    package var key: AttemptKey
    package var phase: LoanReport.Phase
    package var enableTLS: Bool
    /// The host whose agent alone is let in, where files travel encrypted.
    package var target: String?
    /// Base images alone are lent, of a server that may run.
    package var isOfBases: Bool
    /// 0 before a daemon lends the files.
    package var port: Int
    package var files: [LentFile]

    /// A loan of files that no daemon lends yet.
    package init(epoch: Epoch, key: AttemptKey, enableTLS: Bool, target: String?, isOfBases: Bool, files: [LentFile]) {
        self.epoch = epoch
        self.key = key
        self.phase = .lent
        self.enableTLS = enableTLS
        self.target = target
        self.isOfBases = isOfBases
        self.port = 0
        self.files = files
    }

    /// The server must not start.
    package var bindsServer: Bool { phase == .lent && !isOfBases }
}
