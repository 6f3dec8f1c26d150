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

    private static func isAlphanumeric(_ byte: UInt8) -> Bool {
        (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) || (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(byte | 0x20)
    }

    /// - Throws: `DecodingError` for an id that is none: it becomes part of file names and of what is said on a stream.
    package init(from decoder: any Decoder) throws {
        let values = try decoder.container(keyedBy: CodingKeys.self)
        migration = try values.decode(MigrationID.self, forKey: .migration)
        attempt = try values.decode(Int.self, forKey: .attempt)
        let isPlain =
            (1...64).contains(migration.value.utf8.count)
            && migration.value.utf8.allSatisfy { $0 == UInt8(ascii: "-") || Self.isAlphanumeric($0) }
        guard isPlain, attempt >= 0 else {
            throw DecodingError.dataCorruptedError(
                forKey: .migration, in: values,
                debugDescription: "an attempt is named by up to 64 letters, digits and -, and a number from 0")
        }
    }
}

/// `PUT /v1/guests/{server}`: have the guest defined with its disks made. Ensured: an equal description again changes nothing.
package struct DefineOrder: Sendable, Codable {
    package var epoch: Epoch
    package var description: GuestDescription
    /// By disk name, a path on the host of the image that the new disk's content is copied from.
    package var images: [String: String]
    /// By disk name, a path on the host of the image that the new disk rests on. It is taken into the disk's storage with all that it rests on.
    package var bases: [String: String]

    package init(epoch: Epoch, description: GuestDescription, images: [String: String] = [:], bases: [String: String] = [:]) {
        self.epoch = epoch
        self.description = description
        self.images = images
        self.bases = bases
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
    package var streams: StreamOptions
    /// What stands here when the attempt has failed is kept for somebody to look at.
    package var keepsFailed: Bool
    /// Bytes of the medium in its cdrom, as the source has it: the target's under the same path must have as many. Nil for no medium.
    package var cdromBytes: Int64?

    package init(
        epoch: Epoch, key: AttemptKey, description: GuestDescription, source: String, sharedDisks: [String] = [],
        streams: StreamOptions = .plain, keepsFailed: Bool = false, cdromBytes: Int64? = nil
    ) {
        self.epoch = epoch
        self.key = key
        self.description = description
        self.source = source
        self.sharedDisks = sharedDisks
        self.streams = streams
        self.keepsFailed = keepsFailed
        self.cdromBytes = cdromBytes
    }
}

/// How the streams of an attempt travel. Both ends are told the same.
package struct StreamOptions: Hashable, Sendable, Codable {
    /// Memory and disks under TLS, by the two hosts' own certificates: each end proves who it is.
    package var isEncrypted: Bool
    /// Parallel memory streams, by QEMU's own sockets; nil is one, by the agents' socket.
    package var channels: Int?
    /// When memory does not converge the target runs the guest and fetches the rest.
    package var isPostCopyAllowed: Bool

    /// One memory stream, in the clear, all of it before the switch.
    package static let plain = StreamOptions()

    package init(isEncrypted: Bool = false, channels: Int? = nil, isPostCopyAllowed: Bool = false) {
        self.isEncrypted = isEncrypted
        self.channels = channels
        self.isPostCopyAllowed = isPostCopyAllowed
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
    package var streams: StreamOptions

    package init(
        epoch: Epoch, key: AttemptKey, target: Endpoints, bandwidth: Int64?, sharedDisks: [String] = [], streams: StreamOptions = .plain
    ) {
        self.epoch = epoch
        self.key = key
        self.target = target
        self.bandwidth = bandwidth
        self.sharedDisks = sharedDisks
        self.streams = streams
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
    /// It stood still at the source by somebody's order: own it, and leave it so.
    package var isPaused: Bool?

    package init(epoch: Epoch, key: AttemptKey, source: String, isPaused: Bool? = nil) {
        self.epoch = epoch
        self.key = key
        self.source = source
        self.isPaused = isPaused
    }
}

/// `POST /v1/guests/{server}/incoming/refuse`: promise durably never to run this attempt's guest, and end it. Answered 409 `owned` once it is
/// owned. Obeyed also for an attempt that was never prepared here.
package struct RefuseOrder: Sendable, Codable {
    package var epoch: Epoch
    package var key: AttemptKey
    /// The source's end is undone: nothing can come from there any more. Otherwise a guest that post-copy has brought here, and which can
    /// run nowhere else, is not refused (409 `conflict`).
    package var isFinal: Bool

    package init(epoch: Epoch, key: AttemptKey, isFinal: Bool = true) {
        self.epoch = epoch
        self.key = key
        self.isFinal = isFinal
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
    /// Of a target: why the attempt ended. Called off, nothing is kept of it.
    package var reason: Reason?
    /// Of a target that was copying: what was copied stays, for another attempt on this host to go on with.
    package var keepsCopies: Bool?

    package init(
        epoch: Epoch, key: AttemptKey, end: End, rescuedBy: String? = nil, reason: Reason? = nil, keepsCopies: Bool? = nil
    ) {
        self.epoch = epoch
        self.key = key
        self.end = end
        self.rescuedBy = rescuedBy
        self.reason = reason
        self.keepsCopies = keepsCopies
    }
}
