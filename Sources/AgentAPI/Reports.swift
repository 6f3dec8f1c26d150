package import Fleet

/// `GET /v1/guests/{server}`, and the answer to define, start and stop.
package struct GuestReport: Hashable, Sendable, Codable {
    package var summary: GuestSummary
    package var description: GuestDescription
    /// Path on the host of the file that the serial console is written to.
    package var consoleLog: String
    package var warnings: [String]
    /// Bytes of the medium in its cdrom; nil without one.
    package var cdromBytes: Int64?

    package init(
        summary: GuestSummary, description: GuestDescription, consoleLog: String, warnings: [String], cdromBytes: Int64? = nil
    ) {
        self.summary = summary
        self.description = description
        self.consoleLog = consoleLog
        self.warnings = warnings
        self.cdromBytes = cdromBytes
    }
}

/// How a guest's memory stands that its target runs already.
package enum PostCopy: String, Sendable, Codable {
    /// Pages are still at the source: it must stay until they are sent.
    case fetching
    /// The stream broke, and the agents join the two ends anew; the guest stands still as soon as it needs a page.
    case interrupted
    /// Every page is at the target.
    case complete
    /// One of the two QEMUs ended before that: the guest's memory is gone.
    case lost
}

/// How far the source's end of an attempt is.
package struct OutgoingReport: Hashable, Sendable, Codable {
    package enum Phase: String, Sendable, Codable {
        case mirroring
        /// Every mirror was asked again and is ready.
        case mirrored
        /// Memory is on its way; leave to switch is given.
        case memory
        /// QEMU's pre-switchover or later: the vCPUs stand still for the last pass.
        case switching
        /// QEMU's completed; the handover record is on disk, the target is not yet known to run.
        case handedOver = "handed-over"
        /// The target's agent has answered that it owns the guest and runs it.
        case confirmed
        /// Ended before the handover, or taken back after a refusal: the guest runs here.
        case aborted
        /// Ended by a fault, for `reason`; unless that says otherwise the guest runs here.
        case failed
    }

    package var epoch: Epoch
    package var key: AttemptKey
    package var phase: Phase
    /// Grows with every change of phase, and each time the numbers moved: what a long poll waits to go beyond.
    package var version: Int64
    package var progress: Progress
    package var reason: Reason?
    package var blackout: Blackout?
    /// What an operator should see in the history: downtime limit raised, throttle begun, in order.
    package var events: [PolicyEvent]
    /// Nil when all memory goes before the switch.
    package var postCopy: PostCopy?
    /// The guest stands still by somebody's order, and will on the target. Nil for one that runs.
    package var isPaused: Bool?

    package init(
        epoch: Epoch, key: AttemptKey, phase: Phase, version: Int64, progress: Progress, reason: Reason? = nil,
        blackout: Blackout? = nil, events: [PolicyEvent] = [], postCopy: PostCopy? = nil
    ) {
        self.epoch = epoch
        self.key = key
        self.phase = phase
        self.version = version
        self.progress = progress
        self.reason = reason
        self.blackout = blackout
        self.events = events
        self.postCopy = postCopy
    }
}

/// How far the target's end of an attempt is.
package struct IncomingReport: Hashable, Sendable, Codable {
    package enum Phase: String, Sendable, Codable {
        /// QEMU waits; exports and sockets are open.
        case prepared
        /// The state is here in full; it waits for the handover.
        case received
        /// The ownership record is on disk.
        case owned
        /// `cont` was given and QEMU says running; or the guest was owned paused, and stands still as it did at the source.
        case running
        /// It will never run this attempt's guest.
        case refused
        /// Its QEMU ended before it was owned, for `reason`.
        case failed
    }

    package var epoch: Epoch
    package var key: AttemptKey
    package var phase: Phase
    package var version: Int64
    /// Nil once refused or failed.
    package var endpoints: Endpoints?
    package var reason: Reason?
    /// Handover received until the ownership record was durable, in microseconds of the target's clock.
    package var ownershipUS: Int64?
    /// `cont` given until RESUME, likewise.
    package var resumeUS: Int64?
    /// Milliseconds after `cont` at which a vCPU thread was first seen to have executed; nil when none was yet.
    package var vcpuProgressMS: Int64?
    /// Nil when all memory comes before the switch.
    package var postCopy: PostCopy?
    /// Of a server whose files are copied. `prepared` then means that they are being copied, `received` that all of them are here and
    /// verified; `owned` is the end of a stopped server's.
    package var receipt: ReceiptReport?
    /// It was handed over paused and is left so. Nil for one that runs.
    package var isPaused: Bool?

    package init(
        epoch: Epoch, key: AttemptKey, phase: Phase, version: Int64, endpoints: Endpoints? = nil, reason: Reason? = nil,
        ownershipUS: Int64? = nil, resumeUS: Int64? = nil, vcpuProgressMS: Int64? = nil, postCopy: PostCopy? = nil,
        receipt: ReceiptReport? = nil, isPaused: Bool? = nil
    ) {
        self.epoch = epoch
        self.key = key
        self.phase = phase
        self.version = version
        self.endpoints = endpoints
        self.reason = reason
        self.ownershipUS = ownershipUS
        self.resumeUS = resumeUS
        self.vcpuProgressMS = vcpuProgressMS
        self.postCopy = postCopy
        self.receipt = receipt
        self.isPaused = isPaused
    }
}

/// An agent's refusal or failure, as `application/problem+json` (RFC 9457).
package struct AgentProblem: Error, Hashable, Sendable, Codable, CustomStringConvertible {
    /// What kind of answer it was.
    package enum Kind: String, Sendable, Codable {
        /// 400: the order itself is wrong.
        case invalid
        /// 403: this peer may not give this order.
        case forbidden
        /// 404: no such guest or attempt here.
        case notFound = "not-found"
        /// 409: a newer epoch was obeyed already.
        case staleEpoch = "stale-epoch"
        /// 409: the guest is owned here, or may run: what was asked would break the rule of one writer.
        case owned
        /// 409: in this phase it cannot be done.
        case conflict
        /// 500: it was tried and failed, for `reason`.
        case failed
        /// No answer: not reachable, or not in time. What was asked may have been done.
        case unreachable
    }

    package var kind: Kind
    package var reason: Reason

    package init(_ kind: Kind, _ reason: Reason) {
        self.kind = kind
        self.reason = reason
    }

    package init(_ kind: Kind, _ code: Reason.Code, _ message: String) {
        self.init(kind, Reason(code, message))
    }

    package var description: String { reason.description }
}
