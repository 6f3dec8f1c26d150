package import AgentAPI
package import Fleet

/// Files of an attempt that was given up.
package struct KeptCopies: Hashable, Sendable, Codable {
    package var key: AttemptKey
    package var description: GuestDescription

    package init(key: AttemptKey, description: GuestDescription) {
        self.key = key
        self.description = description
    }
}
