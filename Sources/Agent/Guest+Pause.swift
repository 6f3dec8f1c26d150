import AgentAPI
import Attempts
import Fleet
import Hypervisor
import QMP

/// Servers whose vCPUs stand still by somebody's order.
extension Guest {
    func pause(_ order: PauseOrder) async throws -> GuestReport {
        try await obey(order.epoch) {
            let guest = try requireHome()
            if let outgoing = record.outgoing, !outgoing.isOver {
                throw AgentProblem(.conflict, .invalidRequest, "a migration takes server \(server) away: cancel it first")
            }
            guard let process, process.isAlive else {
                throw AgentProblem(.conflict, .guestStopped, "server \(guest.name) is off: it can be neither suspended nor resumed")
            }
            try await ledger.change { $0.desired = order.isPaused ? .paused : .running }
            let state = try await process.monitor.queryStatus()
            if order.isPaused, state.running {
                try await process.monitor.stop()
            } else if !order.isPaused, !state.running {
                try await requireOwned(guest)
                try await tpm.settle(guest)
                try await process.monitor.cont()
            }
            return try await report()
        }
    }

    /// Whether a guest that does not run stands still by an order, and can go on as it is: a migration that was called off leaves a paused
    /// one in `postmigrate`. Not one that waits for its first `cont`, nor one that a fault has stopped.
    static func isPaused(_ state: RunState) -> Bool { ["paused", "postmigrate"].contains(state.status) }
}

extension QMPClient {
    /// Has QEMU take its disks, as `cont` does, without the guest running: after a migration QEMU leaves that to `cont`, and what is not
    /// active can neither be written nor given away again (QEMU 7.2 aborts). It is activated by being offered, even where there is no server to
    /// offer it.
    func activateDisks(_ disks: [String]) async throws {
        for disk in disks {
            let export = "activate-\(disk)"
            do {
                try await blockExportAdd(id: export, nodeName: disk, name: export)
            } catch let error as QMPError where error.code == .command {
                continue
            }
            try await blockExportDel(export, mode: .hard)
        }
    }
}
