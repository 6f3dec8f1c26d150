package import Fleet

/// How many migrations may be under way at once in the whole cluster, and how many are, as the API shows it.
package struct QueueView: Hashable, Sendable, Codable {
    /// Nil is no limit but those of hosts and batches; 0 lets nothing begin.
    package var cluster: Int?
    package var running: Int
    /// Not begun yet, or waiting for their next attempt with nothing on any host.
    package var waiting: Int
    /// Who set the limit last, and when.
    package var changedBy: String?
    package var changedAt: WireTime?

    package init(_ state: QueueState) {
        cluster = state.maxParallel
        running = state.running
        waiting = state.waiting
        changedBy = state.changedBy
        changedAt = state.changedAt.map(WireTime.init)
    }

    package enum CodingKeys: String, CodingKey, CaseIterable {
        case cluster, running, waiting
        case changedBy = "changed_by"
        case changedAt = "changed_at"
    }
}

/// `PUT /v1/queue-limits`: all limits as they shall be.
package struct QueueLimitsRequest: Hashable, Sendable, Codable {
    /// No limit when nil.
    package var cluster: Int?

    package init(cluster: Int?) {
        self.cluster = cluster
    }

    package enum CodingKeys: String, CodingKey, CaseIterable {
        case cluster
    }
}
