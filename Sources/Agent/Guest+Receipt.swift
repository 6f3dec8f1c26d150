import AgentAPI
import Attempts
import Copying
import Fleet
import Foundation
import Glibc
import Hypervisor

/// The target's end of a copy: orders about the files of a stopped server, and about the base images of any.
extension Guest {
    func receive(_ order: ReceiveOrder) async throws -> IncomingReport {
        try await obey(order.epoch) {
            if record.refused.contains(order.key) {
                throw AgentProblem(
                    .conflict, .invalidRequest, "this host has refused attempt \(order.key.attempt) of migration \(order.key.migration)")
            }
            if let known = record.incoming, known.key == order.key {
                try await ledger.change {
                    $0.incoming?.epoch = order.epoch
                    $0.incoming?.receipt?.bandwidth = order.bandwidth
                    $0.incoming?.receipt?.sourceAgentURL = order.sourceAgentURL
                }
                await receiver?.renew(bandwidth: order.bandwidth, sourceAgentURL: order.sourceAgentURL)
                return try incomingNow(order.key)
            }
            switch record.tenure {
            case .home: throw AgentProblem(.owned, .invalidRequest, "server \(server) is on host \(host.configuration.name) already")
            case .handedOver: try await makeWay(for: order.key)
            case .awaited: try await dropIncoming(keepsCopies: true)
            case .none: break
            }
            try host.rules.check(order.description)
            for disk in order.description.disks { _ = try paths.disk(disk) }
            try await requireFiles(of: order.description)
            let hasCopies = record.kept != nil
            let begun = IncomingRecord(
                epoch: order.epoch, key: order.key, phase: .prepared, source: order.source,
                receipt: ReceiptRecord(
                    bases: order.bases, sourceAgentURL: order.sourceAgentURL, bandwidth: order.bandwidth, enableTLS: order.enableTLS,
                    verifies: order.verifies))
            try await ledger.change { record in
                record.expect(begun, order.description)
                record.loan = nil
                if order.bases == nil { record.kept = nil }
            }
            // What lies here is taken over where it is a copy that an earlier attempt began; anything else is in the way.
            if !hasCopies, order.bases == nil { try await removeFiles(of: order.description) }
            await receive(begun)
            return try incomingNow(order.key)
        }
    }

    /// Drives on a receipt.
    func receive(_ incoming: IncomingRecord) async {
        await receiver?.stop()
        guard let receipt = incoming.receipt, let description = record.description else { return }
        let driver = Receiver(incoming, receipt, of: description, guest: self)
        receiver = driver
        await driver.start()
    }

    /// What follows in the attempt that has brought the base images takes over from that.
    /// - Throws: ``AgentProblem`` of kind `conflict` while they are not all here.
    func endReceiptOfBases() async throws {
        guard let known = record.incoming, known.phase == .received else {
            throw AgentProblem(
                .conflict,
                record.incoming?.reason ?? Reason(.baseMissing, "the base images of server \(server) are still on their way here"))
        }
        await receiver?.stop()
        receiver = nil
        if let guest = record.description { try await removeBaseCopies(of: guest) }
    }

    /// Owns a server whose files are all here. It stays stopped. That it does is told on shared storages after it is written down here, as in a
    /// live migration.
    func takeStopped(_ order: HandoverOrder) async throws -> IncomingReport {
        let key = order.key
        try await ledger.change { try $0.takeStopped(order) }
        receiver?.show(.owned)
        return try incomingNow(key)
    }

    /// Removes what was begun of base images on storages of this host's own. Those that are whole stay: others may rest on them.
    func removeBaseCopies(of guest: GuestDescription) async throws {
        let paths = paths
        try await offloaded {
            for disk in guest.disks where !paths.isShared(disk.storage) {
                for base in disk.bases ?? [] {
                    let path = try BaseImages.path(base, on: try paths.storageFolder(disk.storage)) + ".\(guest.server)"
                    for suffix in [".partial", ".copy"] { unlink(path + suffix) }
                }
            }
        }
    }

    /// Removes what an attempt that was given up had copied.
    func dropKept(_ kept: KeptCopies) async throws {
        if record.tenure == .none { try await removeFiles(of: kept.description) }
        if record.incoming?.receipt == nil { try await removeBaseCopies(of: kept.description) }
        try await ledger.change { $0.kept = nil }
    }
}
