package import AgentAPI
package import Fleet
import Hypervisor

/// What the source's agent does next about an attempt, given what stands on its disk and what QEMU answers. It does no I/O: the driver looks,
/// asks here, does that one thing, and looks again, also after its own death in between.
package enum OutgoingMachine {
    /// How a mirror of a disk stands.
    package enum Mirror: Hashable, Sendable {
        /// Neither job nor NBD node.
        case absent
        /// The NBD node, and no job on it.
        case idle
        case copying
        /// In step with the target; QEMU was asked, no event was believed.
        case ready
        /// Ended well: both sides are equal.
        case ended
        case broken(Reason)
    }

    /// How QEMU's migration stands (QAPI `MigrationStatus`, told apart as far as it matters).
    package enum Memory: Hashable, Sendable {
        case none
        case moving
        case preSwitchover
        /// After `migrate-continue`: it must not be cancelled any more, QEMU 7.2 may abort and take the guest along.
        case device
        case completed
        /// Post-copy has begun: the target may have all it needs to run.
        case postCopy
        /// Its stream broke. QEMU 7.2 neither runs the guest again from here nor ends: both ends must be joined anew.
        case interrupted
        /// Both ends are being joined.
        case rejoining
        case cancelling
        case cancelled
        case failed(String)
    }

    package struct Sight: Hashable, Sendable {
        package var isAlive: Bool
        package var isRunning: Bool
        package var memory: Memory
        /// By disk name, all local disks.
        package var mirrors: [String: Mirror]
        /// How long pre-switchover has been seen; nil when it is not that.
        package var window: Duration?
        /// How long the last of the guest's state has been seen on its way; nil when it is not.
        package var device: Duration?
        /// An earlier agent had it in pre-switchover: nobody knows for how long.
        package var isInherited: Bool
        /// What the policy of convergence has come to, while memory moves.
        package var verdict: Verdict?
        /// The target's agent said, before QEMU was asked, that its QEMU could run the guest (post-copy).
        package var hasArrived = false
        /// The target's agent said that its QEMU is gone and never owned the guest, or ended since.
        package var isTargetLost = false
        /// Memory's stream failed because one end did not prove to the other who it is.
        package var isPeerUnproven = false

        package init(
            isAlive: Bool, isRunning: Bool, memory: Memory, mirrors: [String: Mirror], window: Duration? = nil, isInherited: Bool
        ) {
            self.isAlive = isAlive
            self.isRunning = isRunning
            self.memory = memory
            self.mirrors = mirrors
            self.window = window
            self.isInherited = isInherited
        }
    }

    package enum Verdict: Hashable, Sendable {
        case startPostCopy
        case giveUp(Reason)
    }

    package enum Step: Hashable, Sendable {
        case wait
        case startMirrors([String])
        case noteMirrored
        case startMemory
        /// Write that memory is on its way: from here on what QEMU says about a migration is about this attempt's.
        case noteMemory
        /// Have the target run the guest and fetch what is left.
        case startPostCopy
        /// End mirrors that are ready, which makes both sides equal.
        case drain([String])
        /// Forget mirrors that ended and their nodes, before QEMU gives its disks away.
        case clear([String])
        /// Write that post-copy begins, which cannot be called off.
        case beginPostCopy
        /// `migrate-continue`.
        case proceed
        /// Ask the target's agent whether its QEMU could run the guest.
        case askTarget
        /// Join the two ends of a broken post-copy anew.
        case rejoin
        /// Write how post-copy ended.
        case endPostCopy(OutgoingRecord.PostCopyMark)
        /// End QEMU: it holds a guest that can run nowhere.
        case endGuest(Reason)
        /// Write the handover record.
        case handOver
        /// Tell the target, again and again.
        case deliver
        /// Write that there is only the way back from here.
        case turnBack(OutgoingRecord.Unwinding)
        /// Tear the stream of memory: QEMU waits on it with the guest stopped.
        case tearMemory
        /// Tear the NBD connections, then cancel; the other order can freeze the guest.
        case cancelMemory
        /// Tear the NBD connections and have no mirror left.
        case removeMirrors
        /// `cont`: the handover was not written, or the target has refused.
        case resume
        case finish(OutgoingReport.Phase, Reason?)
        case done
    }

    /// How long the guest may stand still before `migrate-continue` is given.
    package static let window = Duration.seconds(5)
    /// How long the last of the guest's state may be on its way.
    package static let deviceLimit = Duration.seconds(10)

    package static func next(_ record: OutgoingRecord, _ sight: Sight) -> Step {
        switch record.phase {
        case .aborted, .failed: return .done
        case .confirmed: return record.isOver ? .done : fetch(sight)
        case .handedOver: return .deliver
        case .mirroring, .mirrored, .memory, .switching: break
        }
        guard sight.isAlive else {
            return .finish(.failed, Reason(.guestStopped, "the guest's QEMU on the source ended while it was migrated"))
        }
        if let unwinding = record.unwinding { return back(unwinding, record, sight) }
        return forward(record, sight)
    }

    private static func forward(_ record: OutgoingRecord, _ sight: Sight) -> Step {
        func turnBack(_ code: Reason.Code, _ message: String) -> Step { .turnBack(.init(phase: .failed, reason: Reason(code, message))) }
        let broken = sight.mirrors.sorted { $0.key < $1.key }.lazy.compactMap {
            if case .broken(let reason) = $0.value { reason } else { nil }
        }.first
        let absent = sight.mirrors.filter { $0.value == .absent || $0.value == .idle }.keys.sorted()
        let isBegun = record.phase == .memory || record.phase == .switching
        if !isBegun, [.moving, .preSwitchover, .device, .postCopy].contains(sight.memory) { return .noteMemory }
        switch isBegun ? sight.memory : .none {
        case .failed(let text) where sight.isPeerUnproven:
            return turnBack(
                .tlsRefused,
                "the TLS handshake with the target at \(record.target.address) for memory failed (\(text)): "
                    + StreamCredentials.remedy(record.target.address))
        case .failed(let text): return turnBack(.connectionLost, "memory could not be sent to the target: \(text)")
        case .cancelled, .cancelling: return turnBack(.qemuError, "somebody cancelled the migration in QEMU")
        case .none:
            if let broken { return .turnBack(.init(phase: .failed, reason: broken)) }
            if isBegun { return turnBack(.qemuError, "QEMU knows nothing of the migration any more") }
            if !absent.isEmpty { return .startMirrors(absent) }
            guard sight.mirrors.values.allSatisfy({ $0 == .ready }) else { return .wait }
            if record.leave != nil { return .startMemory }
            return record.phase == .mirroring ? .noteMirrored : .wait
        case .moving:
            if let broken { return .turnBack(.init(phase: .failed, reason: broken)) }
            if let lost = absent.first { return turnBack(.qemuError, "the mirror of \(lost) is gone") }
            switch sight.verdict {
            case .startPostCopy: return .startPostCopy
            case .giveUp(let reason): return .turnBack(.init(phase: .failed, reason: reason))
            case nil: return .wait
            }
        case .preSwitchover:
            if let broken { return .turnBack(.init(phase: .failed, reason: broken)) }
            guard !sight.isInherited, (sight.window ?? .zero) < window else {
                return turnBack(.switchoverTimeout, "the switchover was not through within \(window), and the source runs on")
            }
            let ready = sight.mirrors.filter { $0.value == .ready }.keys.sorted()
            if !ready.isEmpty { return .drain(ready) }
            if sight.mirrors.values.contains(.copying) { return .wait }
            let ended = sight.mirrors.filter { $0.value != .absent }.keys.sorted()
            guard ended.isEmpty else { return .clear(ended) }
            return record.postCopy == .asked ? .beginPostCopy : .proceed
        case .device: return isStuck(record, sight) ? .tearMemory : .wait
        case .completed: return .handOver
        case .postCopy, .interrupted, .rejoining:
            if sight.isTargetLost { return .endGuest(lost) }
            return sight.hasArrived ? .handOver : .askTarget
        }
    }

    /// Torn, QEMU either runs the guest again or has completed. Not with post-copy begun, of which the guest would not survive it.
    private static func isStuck(_ record: OutgoingRecord, _ sight: Sight) -> Bool {
        record.postCopy != .begun && (sight.device ?? .zero) >= deviceLimit
    }

    private static let lost = Reason(
        .guestStopped,
        "post-copy had begun when the target was lost: the guest's memory is gone with it; the disks here are whole, start the server again"
    )

    /// The target runs the guest and fetches the rest of its memory.
    private static func fetch(_ sight: Sight) -> Step {
        guard sight.isAlive, !sight.isTargetLost else { return .endPostCopy(.lost) }
        switch sight.memory {
        case .completed: return .endPostCopy(.complete)
        case .interrupted: return .rejoin
        case .none, .cancelled, .failed: return .endPostCopy(.lost)
        case .moving, .preSwitchover, .device, .postCopy, .rejoining, .cancelling: return .wait
        }
    }

    private static func back(_ unwinding: OutgoingRecord.Unwinding, _ record: OutgoingRecord, _ sight: Sight) -> Step {
        switch sight.memory {
        case .moving, .preSwitchover: return .cancelMemory
        case .device where isStuck(record, sight): return .tearMemory
        case .device, .cancelling: return .wait
        // Reached only with the target's refusal: no other order calls post-copy off.
        case .postCopy, .interrupted, .rejoining: return .endGuest(unwinding.reason ?? lost)
        case .none, .completed, .cancelled, .failed: break
        }
        if sight.mirrors.values.contains(where: { $0 != .absent }) { return .removeMirrors }
        return sight.isRunning || record.isPaused == true ? .finish(unwinding.phase, unwinding.reason) : .resume
    }
}
