package import Fleet

/// What a failed attempt left on its target and was kept for somebody to look at. It can never run.
package struct KeptView: Hashable, Sendable, Codable {
    /// Unique on its host.
    package var id: String
    package var host: Named
    package var server: Named
    package var migration: String
    package var attempt: Int
    /// Why the attempt ended.
    package var reason: Reason
    package var keptAt: WireTime
    /// What its files take on the host.
    package var bytes: Int64
    /// Where they are on the host.
    package var folders: [String]

    package init(
        id: String, host: Named, server: Named, migration: String, attempt: Int, reason: Reason, keptAt: WireTime, bytes: Int64,
        folders: [String]
    ) {
        self.id = id
        self.host = host
        self.server = server
        self.migration = migration
        self.attempt = attempt
        self.reason = reason
        self.keptAt = keptAt
        self.bytes = bytes
        self.folders = folders
    }

    package enum CodingKeys: String, CodingKey, CaseIterable {
        case id, host, server, migration, attempt, reason
        case keptAt = "kept_at"
        case bytes, folders
    }
}
