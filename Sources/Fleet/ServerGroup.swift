/// Servers that must not share a host, or must.
package struct ServerGroup: Hashable, Sendable, Codable {
    package enum Policy: String, Sendable, Codable, CaseIterable {
        /// No two of them on one host.
        case apart
        /// All of them on one host.
        case together
    }

    package var id: GroupID
    package var name: String
    package var policy: Policy
    /// By name.
    package var members: [Member]
    package var createdAt: Timestamp

    package struct Member: Hashable, Sendable, Codable {
        package var server: ServerID
        package var name: String

        package init(server: ServerID, name: String) {
            self.server = server
            self.name = name
        }
    }

    package init(id: GroupID, name: String, policy: Policy, members: [Member], createdAt: Timestamp) {
        self.id = id
        self.name = name
        self.policy = policy
        self.members = members
        self.createdAt = createdAt
    }
}

/// Another server of a group that a server is in, and where it counts: where it is, and where a migration takes it.
package struct GroupCompanion: Hashable, Sendable, Codable {
    package var group: String
    package var policy: ServerGroup.Policy
    /// Name of the other server.
    package var name: String
    package var host: HostID
    /// Where its unfinished migration holds a reservation.
    package var target: HostID?
    /// It has an unfinished migration, with or without a target yet.
    package var isLeaving: Bool

    package init(
        group: String, policy: ServerGroup.Policy, name: String, host: HostID, target: HostID? = nil, isLeaving: Bool = false
    ) {
        self.group = group
        self.policy = policy
        self.name = name
        self.host = host
        self.target = target
        self.isLeaving = isLeaving
    }

    /// Whether the other server must not share that host with this one, or must share another one.
    package func forbids(_ host: HostID) -> Bool {
        switch policy {
        case .apart: self.host == host || target == host
        // One that is to move and has no target yet will follow.
        case .together: target.map { $0 != host } ?? (self.host != host && !isLeaving)
        }
    }
}
