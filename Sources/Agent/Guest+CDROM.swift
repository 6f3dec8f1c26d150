import AgentAPI
import Attempts
import Fleet
import Foundation
import Glibc
import Hypervisor
import QMP

/// The medium in the guest's cdrom.
extension Guest {
    func setCDROM(_ order: CDROMOrder) async throws -> GuestReport {
        try await obey(order.epoch) {
            var guest = try requireHome()
            guard let now = guest.cdrom else {
                throw AgentProblem(.invalid, .invalidRequest, "server \(guest.name) has no cdrom")
            }
            guard now != order.medium else { return try await report() }
            if let outgoing = record.outgoing, !outgoing.isOver {
                throw AgentProblem(.conflict, .invalidRequest, "a migration takes server \(server) away: its cdrom stays as it is")
            }
            guest.cdrom = order.medium
            if !order.medium.isEmpty { _ = try Medium.size(of: order.medium, host: host.configuration.name) }
            if let process, process.isAlive { try await Medium.change(to: order.medium, process.monitor) }
            let changed = guest
            try await ledger.change { $0.description = changed }
            return try await report()
        }
    }
}
