import AgentAPI
import Attempts
import Fleet
import Foundation
import Glibc
import Hypervisor
import QMP
import Sharing

/// What is told to whoever compares this host with the store, and what of it may go.
extension Guest {
    func book() async -> GuestBook {
        let record = record
        let state = await runState()
        return GuestBook(
            server: server, epoch: record.epoch, tenure: tenure(record), isWanted: record.desired != .stopped, pid: livingPID,
            runState: state,
            endedByGuard: !mayHaveGuest && access(paths.ended, F_OK) == 0, ends: ends(record), hasCopies: record.kept != nil,
            missingDisks: await missingDisks(record), obstacle: obstacle?.reason.message)
    }

    private func tenure(_ record: GuestRecord) -> GuestBook.Tenure {
        switch record.tenure {
        case .none: .none
        case .home: .home
        case .awaited: .awaited
        case .handedOver: .handedOver
        }
    }

    private func runState() async -> String? {
        guard let process, process.isAlive else { return nil }
        // One that hangs tells nothing.
        return try? await process.monitor.queryStatus(deadline: .seconds(2)).status
    }

    private func ends(_ record: GuestRecord) -> [GuestBook.End] {
        var ends: [GuestBook.End] = []
        if let outgoing = record.outgoing {
            let isGivenUp = record.tenure == .handedOver && (outgoing.phase == .confirmed || outgoing.phase == .handedOver)
            ends.append(GuestBook.End(key: outgoing.key, end: .source, isGivenUp: isGivenUp))
        }
        if let loan = record.loan {
            ends.append(GuestBook.End(key: loan.key, end: .source, isGivenUp: loan.phase == .yielded && !loan.isOfBases))
        }
        if let incoming = record.incoming {
            let isGivenUp = record.tenure == .awaited && (incoming.phase == .refused || incoming.phase == .failed)
            ends.append(GuestBook.End(key: incoming.key, end: .target, isGivenUp: isGivenUp))
        }
        return ends
    }

    /// Of disks that are this host's alone.
    private func missingDisks(_ record: GuestRecord) async -> [String] {
        guard record.tenure == .home, let disks = record.description?.disks else { return [] }
        var missing: [String] = []
        for disk in disks where !paths.isShared(disk.storage) {
            // Of a storage that is not configured any more, or does not answer, it is not known: no disk counts as missing for that.
            guard let path = try? paths.disk(disk) else { continue }
            let isThere = try? await host.owners.answer(of: disk.storage, within: HostAgent.storagePatience) { access(path, F_OK) == 0 }
            if isThere == false { missing.append(disk.name) }
        }
        return missing
    }

    /// Has nothing of the server on these storages, once its record proves that nothing of it belongs here.
    func clear(_ order: ClearOrder) async throws {
        try await obey(order.epoch) {
            let record = record
            guard record.tenure == .none, record.incoming == nil, record.outgoing == nil, record.loan == nil, record.kept == nil,
                record.adopting == nil, record.lost == nil
            else {
                throw AgentProblem(
                    .conflict, .invalidRequest,
                    "server \(server) is not gone from host \(host.configuration.name) by its record: nothing of it is removed")
            }
            guard !mayHaveGuest else {
                throw AgentProblem(.owned, .invalidRequest, "server \(server) runs here against its record: nothing is removed")
            }
            for storage in order.storages {
                guard !paths.isShared(storage) else {
                    throw AgentProblem(
                        .invalid, .invalidRequest, "storage \(storage) is not this host's alone: what lies there may be another's")
                }
                let folder = try paths.diskFolder(on: storage)
                try await offloaded { try DiskImages.removeFolder(folder) }
            }
        }
    }
}
