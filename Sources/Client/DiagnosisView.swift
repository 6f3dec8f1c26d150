/// What does not fit together in a fleet.
package struct DiagnosisView: Hashable, Sendable, Codable {
    /// How many were looked at.
    package var hosts: Int
    package var servers: Int
    /// The gravest first.
    package var findings: [FindingView]

    package init(hosts: Int, servers: Int, findings: [FindingView]) {
        self.hosts = hosts
        self.servers = servers
        self.findings = findings
    }

    package enum CodingKeys: String, CodingKey, CaseIterable {
        case hosts, servers, findings
    }
}

/// One difference between the store and what is, or something that will soon be wrong, with what would mend it.
package struct FindingView: Hashable, Sendable, Codable {
    /// `critical`, `warning` or `note`.
    package var severity: String
    /// `guest-unknown`, `server-without-guest`, `leftover-disk`, …
    package var kind: String
    package var server: Named?
    package var host: Named?
    package var migration: String?
    /// What else tells it from others, such as a path.
    package var subject: String?
    package var message: String
    /// A command, or what somebody must do.
    package var remedy: String
    /// Whether a fix can be asked for.
    package var isFixable: Bool
    /// Whether it was mended just now.
    package var isFixed: Bool
    /// What was done, or why it could not be; nil where nothing was tried.
    package var outcome: String?

    package init(
        severity: String, kind: String, server: Named?, host: Named?, migration: String?, subject: String?, message: String, remedy: String,
        isFixable: Bool, isFixed: Bool, outcome: String?
    ) {
        self.severity = severity
        self.kind = kind
        self.server = server
        self.host = host
        self.migration = migration
        self.subject = subject
        self.message = message
        self.remedy = remedy
        self.isFixable = isFixable
        self.isFixed = isFixed
        self.outcome = outcome
    }

    package enum CodingKeys: String, CodingKey, CaseIterable {
        case severity, kind, server, host, migration, subject, message, remedy
        case isFixable = "is_fixable"
        case isFixed = "is_fixed"
        case outcome
    }
}
