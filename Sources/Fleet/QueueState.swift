/// How many migrations may be under way at once in the whole cluster, and how many are.
package struct QueueState: Hashable, Sendable {
    /// Nil is as many as the hosts' slots and the limits of batches allow; 0 lets nothing begin.
    package var maxParallel: Int?
    /// Claimed, or holding something on hosts.
    package var running: Int
    /// Not begun yet, or waiting for their next attempt with nothing on any host.
    package var waiting: Int
    /// Who set the limit last; nil while nobody has.
    package var changedBy: String?
    package var changedAt: Timestamp?

    package init(maxParallel: Int? = nil, running: Int, waiting: Int, changedBy: String? = nil, changedAt: Timestamp? = nil) {
        self.maxParallel = maxParallel
        self.running = running
        self.waiting = waiting
        self.changedBy = changedBy
        self.changedAt = changedAt
    }
}
