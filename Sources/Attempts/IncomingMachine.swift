package import AgentAPI
package import Fleet
import Hypervisor

/// What the target's agent does next about an attempt, given what stands on its disk and what QEMU answers. It does no I/O.
package enum IncomingMachine {
    package enum Memory: Hashable, Sendable {
        case none
        case moving
        case completed
        /// The guest can run, and fetches what it lacks.
        case postCopy
        /// The same, and its stream broke.
        case interrupted
        case failed(String)

        /// - Parameters:
        ///   - status: QEMU's `MigrationStatus`.
        ///   - failure: why it failed, as QEMU tells it.
        package init(_ status: String?, failure: String?) {
            self =
                switch status {
                case nil, "none", "setup": .none
                case "completed": .completed
                case "postcopy-active": .postCopy
                case "postcopy-paused", "postcopy-recover": .interrupted
                case "failed": .failed(failure ?? "QEMU gives no reason")
                default: .moving
                }
        }
    }

    package struct Sight: Hashable, Sendable {
        package var isAlive: Bool
        package var isRunning: Bool
        package var memory: Memory

        package init(isAlive: Bool, isRunning: Bool, memory: Memory) {
            self.isAlive = isAlive
            self.isRunning = isRunning
            self.memory = memory
        }
    }

    package enum Step: Hashable, Sendable {
        case wait
        /// The state is here in full.
        case noteReceived
        /// `cont`: the ownership record is written, and the guest does not run yet.
        case run
        /// The ownership record is written, and the guest is to be left paused.
        case leavePaused
        case noteRunning
        /// The guest is this host's, and its QEMU ended before it ran: it is off here.
        case noteEnded(Reason)
        case fail(Reason)
        /// Write or show how the fetching of memory stands.
        case notePostCopy(PostCopy)
        case done
    }

    /// - Parameter shown: the phase that is reported; `received` stands on no disk, QEMU itself knows it.
    package static func next(_ record: IncomingRecord, shown: IncomingReport.Phase, _ sight: Sight) -> Step {
        switch record.phase {
        case .refused, .failed: return .done
        case .running: return record.isFetching ? fetch(record, sight) : .done
        case .owned:
            guard sight.isAlive else { return .noteEnded(ended) }
            if sight.isRunning { return .noteRunning }
            return record.isPaused == true ? .leavePaused : .run
        case .prepared, .received: break
        }
        if record.endpoints == nil {
            return .fail(Reason(.agentError, "the target's agent ended while it prepared the guest"))
        }
        guard sight.isAlive else {
            return .fail(Reason(.targetLost, "the guest's QEMU on the target ended before the guest was handed over"))
        }
        switch sight.memory {
        case .failed(let text): return .fail(Reason(.connectionLost, "the guest's memory was not received: \(text)"))
        case .completed, .postCopy, .interrupted: return shown == .prepared ? .noteReceived : .wait
        case .none, .moving: return .wait
        }
    }

    package static let ended = Reason(
        .guestStopped, "the guest's QEMU ended on the target after the guest was handed over: the server is off there, its disks are whole")

    private static func fetch(_ record: IncomingRecord, _ sight: Sight) -> Step {
        guard sight.isAlive else { return .notePostCopy(.lost) }
        switch sight.memory {
        case .completed: return .notePostCopy(.complete)
        case .interrupted: return record.postCopy == .interrupted ? .wait : .notePostCopy(.interrupted)
        case .postCopy: return record.postCopy == .fetching ? .wait : .notePostCopy(.fetching)
        // As long as both ends are being joined nothing is known.
        case .none, .moving, .failed: return .wait
        }
    }
}
