package import AgentAPI
package import Fleet

/// The target's end of an attempt, as it is on the disk.
package struct IncomingRecord: Hashable, Sendable, Codable {
    package var epoch: Epoch
    package var key: AttemptKey
    /// Only `prepared`, `owned`, `refused` and `failed` are written before they are acted on; the others QEMU itself knows.
    package var phase: IncomingReport.Phase
    /// Name of the source host.
    package var source: String
    package var endpoints: Endpoints?
    package var reason: Reason?
    package var ownershipUS: Int64?
    package var resumeUS: Int64?
    package var vcpuProgressMS: Int64?
    /// Of a server whose files are copied.
    package var receipt: ReceiptRecord?
    /// It was handed over paused: what is owned is not run until somebody resumes it.
    package var isPaused: Bool?
    /// Nil is plain.
    package var streams: StreamOptions?
    /// What stands here is kept when the attempt has failed.
    package var keepsFailed: Bool?
    /// Written with the ownership of a guest whose memory is not all here yet.
    package var postCopy: PostCopy?

    package init(
        epoch: Epoch, key: AttemptKey, phase: IncomingReport.Phase, source: String, endpoints: Endpoints? = nil,
        receipt: ReceiptRecord? = nil, streams: StreamOptions? = nil, keepsFailed: Bool? = nil, postCopy: PostCopy? = nil
    ) {
        self.epoch = epoch
        self.key = key
        self.phase = phase
        self.source = source
        self.endpoints = endpoints
        self.receipt = receipt
        self.streams = streams
        self.keepsFailed = keepsFailed
        self.postCopy = postCopy
    }

    /// Base images alone are copied, and QEMU does not wait yet.
    package var isOfBases: Bool { receipt?.bases != nil }

    /// Memory is still to come for a guest that is ours.
    package var isFetching: Bool { (phase == .owned || phase == .running) && (postCopy == .fetching || postCopy == .interrupted) }
}
