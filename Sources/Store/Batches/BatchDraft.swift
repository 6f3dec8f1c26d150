package import Fleet

/// A batch as it is submitted.
package struct BatchDraft: Sendable {
    package var name: String
    package var actor: String
    /// Sent again, the same token brings the same batch back; nil makes a new one each time.
    package var token: String?
    /// Of all that was asked for: another one under the same token is refused.
    package var digest: String
    /// Ids, names or unique beginnings of ids of servers, at most ``most``; they are begun in this order.
    package var servers: [String]
    /// How each server moves; nil is live where it runs and cold where it is off. Never `rescue`.
    package var mode: Mode?
    package var liveOptions: MigrationOptions
    package var coldOptions: MigrationOptions
    package var maxAttempts: Int
    package var priority: Int
    package var maxParallel: Int?
    package var maxFailures: FailureLimit?
    package var startAt: Timestamp?
    /// Lines that are not valid are left out, instead of refusing all.
    package var skipsInvalid: Bool
    package var retryOf: BatchID?

    /// Servers of one batch.
    package static let most = 100_000

    package init(
        name: String, actor: String, token: String? = nil, digest: String, servers: [String], mode: Mode? = nil,
        liveOptions: MigrationOptions = MigrationOptions(), coldOptions: MigrationOptions = MigrationOptions(), maxAttempts: Int = 3,
        priority: Int = 0, maxParallel: Int? = nil, maxFailures: FailureLimit? = nil, startAt: Timestamp? = nil,
        skipsInvalid: Bool = false, retryOf: BatchID? = nil
    ) {
        self.name = name
        self.actor = actor
        self.token = token
        self.digest = digest
        self.servers = servers
        self.mode = mode
        self.liveOptions = liveOptions
        self.coldOptions = coldOptions
        self.maxAttempts = maxAttempts
        self.priority = priority
        self.maxParallel = maxParallel
        self.maxFailures = maxFailures
        self.startAt = startAt
        self.skipsInvalid = skipsInvalid
        self.retryOf = retryOf
    }
}

/// Lines of a submit that cannot be taken, all of them; nothing was changed.
package struct BatchRefusal: Error, Sendable {
    package let flaws: [BatchFlaw]
    /// Lines in all.
    package let lines: Int
}

/// A submitted batch.
package struct BatchReceipt: Hashable, Sendable {
    package let batch: Batch
    /// The lines that were left out.
    package let flaws: [BatchFlaw]
    /// Whether this very call made it; false where its token had been used before for the same.
    package let isNew: Bool
}
