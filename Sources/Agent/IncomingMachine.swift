import AgentAPI
import Fleet
import Hypervisor

/// What the target's agent does next about an attempt, given what stands on its disk and what QEMU answers. It does no I/O.
enum IncomingMachine {
    enum Memory: Hashable, Sendable {
        case none
        case moving
        case completed
        case failed(String)
    }

    struct Sight: Hashable, Sendable {
        var isAlive: Bool
        var isRunning: Bool
        var memory: Memory
    }

    enum Step: Hashable, Sendable {
        case wait
        /// The state is here in full.
        case noteReceived
        /// `cont`: the ownership record is written, and the guest does not run yet.
        case run
        /// The ownership record is written, and the guest is to be left paused.
        case leavePaused
        case noteRunning
        case fail(Reason)
        case done
    }

    /// - Parameter shown: the phase that is reported; `received` stands on no disk, QEMU itself knows it.
    static func next(_ record: IncomingRecord, shown: IncomingReport.Phase, _ sight: Sight) -> Step {
        switch record.phase {
        case .refused, .failed, .running: return .done
        case .owned:
            guard sight.isAlive else { return .done }
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
        case .completed: return shown == .prepared ? .noteReceived : .wait
        case .none, .moving: return .wait
        }
    }
}
