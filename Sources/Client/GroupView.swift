package import Fleet

/// Servers that must not share a host, or must, as the API shows them.
package struct GroupView: Hashable, Sendable, Codable {
    package var id: String
    package var name: String
    package var policy: ServerGroup.Policy
    /// By name, each with the host it is on.
    package var members: [MemberView]
    /// Whether the policy holds as its members are placed now.
    package var isKept: Bool
    package var createdAt: WireTime

    package init(id: String, name: String, policy: ServerGroup.Policy, members: [MemberView], isKept: Bool, createdAt: WireTime) {
        self.id = id
        self.name = name
        self.policy = policy
        self.members = members
        self.isKept = isKept
        self.createdAt = createdAt
    }

    package struct MemberView: Hashable, Sendable, Codable {
        package var server: Named
        package var host: Named

        package init(server: Named, host: Named) {
            self.server = server
            self.host = host
        }

        package enum CodingKeys: String, CodingKey, CaseIterable {
            case server, host
        }
    }

    package enum CodingKeys: String, CodingKey, CaseIterable {
        case id, name, policy, members
        case isKept = "is_kept"
        case createdAt = "created_at"
    }
}

/// `POST /v1/server-groups`.
package struct CreateGroupRequest: Hashable, Sendable, Codable {
    package var name: String
    package var policy: ServerGroup.Policy

    package init(name: String, policy: ServerGroup.Policy) {
        self.name = name
        self.policy = policy
    }

    package enum CodingKeys: String, CodingKey, CaseIterable {
        case name, policy
    }
}

/// `POST /v1/server-groups/{ref}/servers`.
package struct GroupServerRequest: Hashable, Sendable, Codable {
    /// Id or name.
    package var server: String

    package init(server: String) { self.server = server }

    package enum CodingKeys: String, CodingKey, CaseIterable {
        case server
    }
}

/// `PATCH /v1/hosts/{ref}`: what is left out (nil) stays as it is.
package struct HostLimitsRequest: Hashable, Sendable, Codable {
    /// How many vCPUs may be promised for each processor, and how often each byte of memory.
    package var vcpusOvercommit: Double?
    package var memoryOvercommit: Double?
    /// Migrations that may be on their way into the host, and out of it, at once.
    package var inboundSlots: Int?
    package var outboundSlots: Int?

    package init(vcpusOvercommit: Double? = nil, memoryOvercommit: Double? = nil, inboundSlots: Int? = nil, outboundSlots: Int? = nil) {
        self.vcpusOvercommit = vcpusOvercommit
        self.memoryOvercommit = memoryOvercommit
        self.inboundSlots = inboundSlots
        self.outboundSlots = outboundSlots
    }

    package enum CodingKeys: String, CodingKey, CaseIterable {
        case vcpusOvercommit = "vcpus_overcommit"
        case memoryOvercommit = "memory_overcommit"
        case inboundSlots = "inbound_slots"
        case outboundSlots = "outbound_slots"
    }
}
