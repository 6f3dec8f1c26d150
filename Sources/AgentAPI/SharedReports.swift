package import Fleet

/// The answer to a ``ProofOrder``: what this host calls each storage, and whether the nonce is to be seen there.
package struct ProofReport: Hashable, Sendable, Codable {
    package struct Finding: Hashable, Sendable, Codable {
        /// Nil when the host has no storage of that name.
        package var kind: Storage.Kind?
        package var isSeen: Bool

        package init(kind: Storage.Kind?, isSeen: Bool) {
            self.kind = kind
            self.isSeen = isSeen
        }
    }

    /// By storage name.
    package var storages: [String: Finding]

    package init(storages: [String: Finding]) {
        self.storages = storages
    }
}

/// The answer to a ``DiscardOrder``.
package struct DiscardReport: Hashable, Sendable, Codable {
    /// A guest still ran here that lives elsewhere, and was ended: now, or as soon as this host saw the newer owner.
    package var endedGuest: Bool

    package init(endedGuest: Bool = false) {
        self.endedGuest = endedGuest
    }
}
