/// Why something failed or was refused: a code for programs, a sentence for people.
package struct Reason: Hashable, Sendable, Codable, CustomStringConvertible {
    /// A short, stable word. Open for extension; these are the ones that Godwit itself gives.
    package struct Code: Hashable, Sendable, Codable, CustomStringConvertible, ExpressibleByStringLiteral {
        package let value: String

        package init(_ value: String) {
            self.value = value
        }

        package init(stringLiteral value: String) {
            self.value = value
        }

        package init(from decoder: any Decoder) throws {
            self.value = try decoder.singleValueContainer().decode(String.self)
        }

        package func encode(to encoder: any Encoder) throws {
            var container = encoder.singleValueContainer()
            try container.encode(value)
        }

        package var description: String { value }

        /// Somebody asked for the migration to end.
        package static let cancelled: Code = "cancelled"
        /// Somebody has just asked for that: told in the history when it was asked.
        package static let cancelRequested: Code = "cancel-requested"
        /// A cancellation or a deadline came when the target owned the server already.
        package static let tooLate: Code = "too-late"
        /// Somebody changed the parameters of a migration under way.
        package static let parametersSet: Code = "parameters-set"
        /// The rows of a finished migration's history that were there before were taken away by somebody's order.
        package static let historyPruned: Code = "history-pruned"
        /// The downtime limit was set or raised.
        package static let downtimeLimit: Code = "downtime-limit"
        /// Auto-converge takes more of the guest's time, or less.
        package static let throttle: Code = "throttle"
        /// Memory did not converge, and the target runs the guest while the rest is fetched.
        package static let postCopy: Code = "post-copy"
        /// No host passed every filter of placement.
        package static let noHost: Code = "no-host"
        /// The target cannot offer the CPU that the guest was given.
        package static let incompatibleCPU: Code = "incompatible-cpu"
        /// The two QEMUs cannot hand this guest to each other: machine type, version, accelerator or devices differ.
        package static let incompatibleQEMU: Code = "incompatible-qemu"
        /// The target host or its QEMU went away.
        package static let targetLost: Code = "target-lost"
        /// The source host or its agent could not be reached.
        package static let sourceLost: Code = "source-lost"
        /// A base image that a disk rests on is neither on the target nor to be had from the source.
        package static let baseMissing: Code = "base-missing"
        /// What stands on the target differs from the source, also after it was copied again.
        package static let verifyFailed: Code = "verify-failed"
        /// The peer of a stream did not prove who it is.
        package static let tlsRefused: Code = "tls-refused"
        /// The source host is neither proven dead nor vouched for as off.
        package static let hostNotDown: Code = "host-not-down"
        /// No controller has renewed the host's lease: nothing of a server that may run elsewhere by now is started there.
        package static let leaseOver: Code = "lease-over"
        /// The source host's lease is over and its guard had confirmed it: no guest of its runs.
        package static let hostProvenDown: Code = "host-proven-down"
        /// A guest that lives elsewhere by now was still there, and was ended.
        package static let guestEnded: Code = "guest-ended"
        /// A disk is local to the host that is to be left without it.
        package static let localDisk: Code = "local-disk"
        /// A storage that both hosts call shared is not the same one.
        package static let notShared: Code = "not-shared"
        /// The migration took longer than its completion deadline.
        package static let timedOut: Code = "timed-out"
        /// The guest was dirtied faster than the link could carry it.
        package static let didNotConverge: Code = "did-not-converge"
        /// No byte moved for the stall deadline.
        package static let stalled: Code = "stalled"
        /// A storage had no room left.
        package static let diskFull: Code = "disk-full"
        /// A disk could not be read or written.
        package static let diskError: Code = "disk-error"
        /// The host had not enough memory to start the guest.
        package static let memoryShort: Code = "memory-short"
        /// The streams between the hosts broke.
        package static let connectionLost: Code = "connection-lost"
        /// The source's guest ended by itself, or was no longer running when it should move.
        package static let guestStopped: Code = "guest-stopped"
        /// The switchover was not finished within its deadline and the source runs on.
        package static let switchoverTimeout: Code = "switchover-timeout"
        /// An order came with an epoch older than one already obeyed.
        package static let staleEpoch: Code = "stale-epoch"
        /// Two processes' versions of Godwit are too far apart to work together.
        package static let incompatibleVersion: Code = "incompatible-version"
        /// Somebody had removed what an attempt had left: told in the history when that was asked.
        package static let cleanupOrdered: Code = "cleanup-ordered"
        /// An agent answered something that no rule foresees.
        package static let agentError: Code = "agent-error"
        /// QEMU refused a command or died.
        package static let qemuError: Code = "qemu-error"
        /// A batch had as many failures as it may, and its rest is held.
        package static let tooManyFailures: Code = "too-many-failures"
        /// Something asked for is not valid, or not supported.
        package static let invalidRequest: Code = "invalid-request"
    }

    package let code: Code
    /// A whole sentence for a person: what happened, to what, and where it helps, what to do.
    package let message: String

    package init(_ code: Code, _ message: String) {
        self.code = code
        self.message = message
    }

    package var description: String { "\(code): \(message)" }
}
