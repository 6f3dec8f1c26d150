package import Fleet

/// `PUT /v1/guests/{server}/loan`: have the files of a stopped server lent for reading, and the server kept from starting. Ensured: what is lent
/// under the same key stays lent. The server stays this host's until a ``YieldOrder``.
package struct LendOrder: Sendable, Codable {
    package var epoch: Epoch
    package var key: AttemptKey
    /// The files are lent to proven peers only, and travel encrypted.
    package var enableTLS: Bool
    /// Only these base images, of a server that may run; nil for all that the server has here.
    package var bases: [String]?
    /// The host whose agent alone is let in, where files travel encrypted; nil lets every proven agent in.
    package var target: String?

    package init(epoch: Epoch, key: AttemptKey, enableTLS: Bool = false, bases: [String]? = nil, target: String? = nil) {
        self.epoch = epoch
        self.key = key
        self.enableTLS = enableTLS
        self.bases = bases
        self.target = target
    }
}

/// `POST /v1/guests/{server}/loan/yield`: write down that this host will never run the server under this key, and end the loan.
package struct YieldOrder: Sendable, Codable {
    package var epoch: Epoch
    package var key: AttemptKey

    package init(epoch: Epoch, key: AttemptKey) {
        self.epoch = epoch
        self.key = key
    }
}

/// `POST /v1/guests/{server}/loan/return`: have the loan ended and the server this host's to start. After the yield is written it is obeyed only
/// with the target's durable refusal.
package struct TakeBackOrder: Sendable, Codable {
    package var epoch: Epoch
    package var key: AttemptKey
    /// The target has answered a ``RefuseOrder`` with `refused`.
    package var targetRefused: Bool

    package init(epoch: Epoch, key: AttemptKey, targetRefused: Bool) {
        self.epoch = epoch
        self.key = key
        self.targetRefused = targetRefused
    }
}

/// One file of a loan.
package struct LentFile: Hashable, Sendable, Codable {
    /// The export's name.
    package var name: String
    /// The storage that it lies on, by name; nil for the agent's own folder of the server.
    package var storage: String?
    /// Its path below that: `vm1/disk0.qcow2`, `.base/….qcow2`, `nvram.fd`.
    package var path: String
    package var sizeBytes: Int64
    /// What it takes up.
    package var allocatedBytes: Int64
    /// Changes with the file's content.
    package var identity: String

    package init(name: String, storage: String?, path: String, sizeBytes: Int64, allocatedBytes: Int64, identity: String) {
        self.name = name
        self.storage = storage
        self.path = path
        self.sizeBytes = sizeBytes
        self.allocatedBytes = allocatedBytes
        self.identity = identity
    }
}

/// `GET /v1/guests/{server}/loan`, and the answer to the orders about it.
package struct LoanReport: Hashable, Sendable, Codable {
    package enum Phase: String, Sendable, Codable {
        /// The files can be read; the server cannot be started here.
        case lent
        /// It is written down that this host will never run the server under this key.
        case yielded
        /// It is over; the server is this host's.
        case returned
    }

    package var epoch: Epoch
    package var key: AttemptKey
    package var phase: Phase
    package var address: String
    /// 0 when there is no file to read. It may be another one after this host's daemon had to be started anew.
    package var port: Int
    package var isEncrypted: Bool
    package var files: [LentFile]

    package init(
        epoch: Epoch, key: AttemptKey, phase: Phase, address: String, port: Int, isEncrypted: Bool, files: [LentFile]
    ) {
        self.epoch = epoch
        self.key = key
        self.phase = phase
        self.address = address
        self.port = port
        self.isEncrypted = isEncrypted
        self.files = files
    }
}

/// `POST /v1/guests/{server}/loan/digests`: what chunks of a lent file are, as this host reads them from its own disk.
package struct DigestOrder: Sendable, Codable {
    /// A run of chunks.
    package struct Run: Hashable, Sendable, Codable {
        package var first: Int
        package var count: Int

        package init(first: Int, count: Int) {
            self.first = first
            self.count = count
        }
    }

    package var key: AttemptKey
    /// The export's name.
    package var file: String
    package var chunkBytes: Int
    package var chunks: [Run]

    package init(key: AttemptKey, file: String, chunkBytes: Int, chunks: [Run]) {
        self.key = key
        self.file = file
        self.chunkBytes = chunkBytes
        self.chunks = chunks
    }

    /// So many chunks can be asked for at once.
    package static let chunksAtMost = 65_536
}

package struct DigestReport: Hashable, Sendable, Codable {
    /// XXH3 with 128 bits, in hexadecimal, in the order asked for; "" for a chunk that is a hole from end to end.
    package var digests: [String]

    package init(digests: [String]) {
        self.digests = digests
    }
}

/// `PUT /v1/guests/{server}/receipt`: have the files of a stopped server copied here from where they are lent, verified, and the server waiting to
/// be handed over; or of one that may run the base images alone, for a ``PrepareOrder`` under the same key to follow. Ensured; a repeated order
/// changes the bandwidth of a copy under way. Told by ``IncomingReport``.
package struct ReceiveOrder: Sendable, Codable {
    package var epoch: Epoch
    package var key: AttemptKey
    package var description: GuestDescription
    /// Name of the source host.
    package var source: String
    package var sourceAgentURL: String
    /// Bytes a second over all files together; nil is without limit.
    package var bandwidth: Int64?
    /// Only an encrypted loan of a proven source is taken.
    package var enableTLS: Bool
    /// What stands here is compared with the source before it counts.
    package var verifies: Bool
    /// As in ``LendOrder``: these base images alone, as far as they are not here; nil for the whole server.
    package var bases: [String]?

    package init(
        epoch: Epoch, key: AttemptKey, description: GuestDescription, source: String, sourceAgentURL: String, bandwidth: Int64?,
        enableTLS: Bool = false, verifies: Bool = true, bases: [String]? = nil
    ) {
        self.epoch = epoch
        self.key = key
        self.description = description
        self.source = source
        self.sourceAgentURL = sourceAgentURL
        self.bandwidth = bandwidth
        self.enableTLS = enableTLS
        self.verifies = verifies
        self.bases = bases
    }
}

/// How far the copy of a server's files is.
package struct ReceiptReport: Hashable, Sendable, Codable {
    package var files: Int
    /// Bytes of data at the source; 0 before it was asked.
    package var bytesTotal: Int64
    package var bytesDone: Int64
    package var bytesVerified: Int64
    /// Over the wire, in all tries together.
    package var bytesFetched: Int64
    /// Left by an earlier try beyond its checkpoint and found equal to the source.
    package var bytesCompared: Int64
    /// Chunks that differed from the source and were copied again.
    package var chunksRepaired: Int64
    /// Bytes a second.
    package var rate: Int64
    /// Milliseconds from the order until every byte stood here for the first time, not yet verified; nil before, and after this host's agent was
    /// started anew meanwhile.
    package var copyMS: Int64?
    /// What an operator should see in the history, in order.
    package var events: [Reason]

    package init(
        files: Int = 0, bytesTotal: Int64 = 0, bytesDone: Int64 = 0, bytesVerified: Int64 = 0, bytesFetched: Int64 = 0,
        bytesCompared: Int64 = 0, chunksRepaired: Int64 = 0, rate: Int64 = 0, copyMS: Int64? = nil, events: [Reason] = []
    ) {
        self.files = files
        self.bytesTotal = bytesTotal
        self.bytesDone = bytesDone
        self.bytesVerified = bytesVerified
        self.bytesFetched = bytesFetched
        self.bytesCompared = bytesCompared
        self.chunksRepaired = chunksRepaired
        self.rate = rate
        self.copyMS = copyMS
        self.events = events
    }
}
