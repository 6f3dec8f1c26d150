package import Fleet

/// Whose try an order about a migration belongs to. Both ends keep it in their records: an order of another migration or attempt never
/// touches what this one made.
package struct AttemptKey: Hashable, Sendable, Codable {
    package var migration: MigrationID
    package var attempt: Int

    package init(migration: MigrationID, attempt: Int) {
        self.migration = migration
        self.attempt = attempt
    }
}

/// `PUT /v1/guests/{server}`: have the guest defined with its disks made. Ensured: an equal description again changes nothing.
package struct DefineOrder: Sendable, Codable {
    package var epoch: Epoch
    package var description: GuestDescription
    /// By disk name, a path on the host of the image that the new disk's content is copied from.
    package var images: [String: String]

    package init(epoch: Epoch, description: GuestDescription, images: [String: String] = [:]) {
        self.epoch = epoch
        self.description = description
        self.images = images
    }
}

/// `POST /v1/guests/{server}/start`: have the guest running. Answered once QEMU runs it.
package struct StartOrder: Sendable, Codable {
    package var epoch: Epoch
    package init(epoch: Epoch) { self.epoch = epoch }
}

/// `POST /v1/guests/{server}/stop`: have the guest stopped: by its power button, and after `graceMS` by ending QEMU.
package struct StopOrder: Sendable, Codable {
    package var epoch: Epoch
    /// 0 ends QEMU at once.
    package var graceMS: Int64

    package init(epoch: Epoch, graceMS: Int64) {
        self.epoch = epoch
        self.graceMS = graceMS
    }
}

/// `POST /v1/guests/{server}/delete`: have no guest, no disks and no description of the server here. Refused while it runs.
package struct DeleteOrder: Sendable, Codable {
    package var epoch: Epoch
    package init(epoch: Epoch) { self.epoch = epoch }
}

/// `PUT /v1/guests/{server}/incoming`: have a target waiting: fresh disks, QEMU with `-S -incoming defer`, NBD exports, a listening
/// socket for memory.
package struct PrepareOrder: Sendable, Codable {
    package var epoch: Epoch
    package var key: AttemptKey
    package var description: GuestDescription
    /// Name of the source host, the only one whose agent may hand over.
    package var source: String
    /// Names of the disks on storages that were proven to be the same on both hosts: they are opened as they are. The target refuses when
    /// they are not exactly those that it would open so itself.
    package var sharedDisks: [String]

    package init(epoch: Epoch, key: AttemptKey, description: GuestDescription, source: String, sharedDisks: [String] = []) {
        self.epoch = epoch
        self.key = key
        self.description = description
        self.source = source
        self.sharedDisks = sharedDisks
    }
}

/// Where a target listens.
package struct Endpoints: Hashable, Sendable, Codable {
    package var address: String
    package var nbdPort: Int
    package var memoryPort: Int

    package init(address: String, nbdPort: Int, memoryPort: Int) {
        self.address = address
        self.nbdPort = nbdPort
        self.memoryPort = memoryPort
    }
}

/// `PUT /v1/guests/{server}/outgoing/disks`: have every local disk mirrored to the target.
package struct MirrorOrder: Sendable, Codable {
    package var epoch: Epoch
    package var key: AttemptKey
    package var target: Endpoints
    /// Bytes a second over all streams of this migration together; nil is without limit.
    package var bandwidth: Int64?
    /// As in ``PrepareOrder``: the disks that are not mirrored. The source refuses when they are not exactly those that it calls shared.
    package var sharedDisks: [String]

    package init(epoch: Epoch, key: AttemptKey, target: Endpoints, bandwidth: Int64?, sharedDisks: [String] = []) {
        self.epoch = epoch
        self.key = key
        self.target = target
        self.bandwidth = bandwidth
        self.sharedDisks = sharedDisks
    }
}

/// `PUT /v1/guests/{server}/outgoing/memory`: have memory on its way. It is also the leave to switch: from here on the two agents end the
/// migration by themselves as soon as memory converges.
package struct MemoryOrder: Sendable, Codable {
    package var epoch: Epoch
    package var key: AttemptKey
    package var target: Endpoints
    package var targetAgentURL: String
    package var bandwidth: Int64?
    /// What may be done to the guest so that its memory gets across. Given again with others it takes these from now on.
    package var rules: ConvergenceRules

    package init(
        epoch: Epoch, key: AttemptKey, target: Endpoints, targetAgentURL: String, bandwidth: Int64?, rules: ConvergenceRules
    ) {
        self.epoch = epoch
        self.key = key
        self.target = target
        self.targetAgentURL = targetAgentURL
        self.bandwidth = bandwidth
        self.rules = rules
    }
}

/// `POST /v1/guests/{server}/outgoing/abort`: have the migration off and the source running. After the handover record is written it is
/// obeyed only with the target's durable refusal.
package struct AbortOrder: Sendable, Codable {
    package var epoch: Epoch
    package var key: AttemptKey
    /// The target has answered a ``RefuseOrder`` with `refused`, or is proven dead without having owned.
    package var targetRefused: Bool

    package init(epoch: Epoch, key: AttemptKey, targetRefused: Bool) {
        self.epoch = epoch
        self.key = key
        self.targetRefused = targetRefused
    }
}

/// `POST /v1/guests/{server}/incoming/handover`: the source will never run this guest under this key: own it, run it.
/// From the source's agent, or relayed by a worker.
package struct HandoverOrder: Sendable, Codable {
    package var epoch: Epoch
    package var key: AttemptKey
    package var source: String

    package init(epoch: Epoch, key: AttemptKey, source: String) {
        self.epoch = epoch
        self.key = key
        self.source = source
    }
}

/// `POST /v1/guests/{server}/incoming/refuse`: promise durably never to run this attempt's guest, and end it. Answered 409 `owned` once it is
/// owned. Obeyed also for an attempt that was never prepared here.
package struct RefuseOrder: Sendable, Codable {
    package var epoch: Epoch
    package var key: AttemptKey

    package init(epoch: Epoch, key: AttemptKey) {
        self.epoch = epoch
        self.key = key
    }
}

/// `POST /v1/guests/{server}/discard`: have nothing left of one end of an attempt: of the source after its handover was confirmed, or of a
/// target that refused. Refused (409) for a guest that runs or may run.
package struct DiscardOrder: Sendable, Codable {
    package enum End: String, Sendable, Codable {
        case source
        case target
    }

    package var epoch: Epoch
    package var key: AttemptKey
    package var end: End
    /// Name of the host that rescued the server under this epoch. Then there was no handover: a guest that is still here is ended, and no
    /// disk is touched.
    package var rescuedBy: String?

    package init(epoch: Epoch, key: AttemptKey, end: End, rescuedBy: String? = nil) {
        self.epoch = epoch
        self.key = key
        self.end = end
        self.rescuedBy = rescuedBy
    }
}
