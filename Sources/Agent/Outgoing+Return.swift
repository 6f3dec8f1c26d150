import AgentAPI
import Attempts
import Fleet
import Foundation
import Hypervisor
import Logging
import QMP

/// The way back.
extension Outgoing {
    func turnBack(_ unwinding: OutgoingRecord.Unwinding) async throws {
        if let reason = unwinding.reason { logger.warning("the migration is given up", metadata: ["reason": .stringConvertible(reason)]) }
        // Before the record: a guest that waits for a dead target must not wait for the disk too.
        await yank(memory: false)
        try await change { if $0.unwinding == nil { $0.unwinding = unwinding } }
    }

    /// Tears our connections in QEMU at once, past whatever its main loop waits for.
    func yank(memory: Bool) async {
        guard let process, process.isAlive else { return }
        let nodes = Set(disks.map(node))
        do {
            let ours = try await process.rescue.queryYank(deadline: .seconds(2)).filter { instance in
                switch instance {
                case .blockNode(let name): nodes.contains(name)
                case .migration: memory
                case .chardev: false
                }
            }
            if !ours.isEmpty { try await process.rescue.yank(ours, outOfBand: true, deadline: .seconds(2)) }
        } catch {
            logger.warning("connections cannot be torn", metadata: ["problem": "\(error)"])
        }
    }

    func removeMirrors(_ monitor: QMPClient) async throws {
        await yank(memory: false)
        let jobs = try await monitor.queryBlockJobs()
        for disk in disks {
            guard let job = jobs.first(where: { $0.device == jobID(disk) }) else {
                if attached.contains(disk) { try await removeMirror(disk, monitor) }
                continue
            }
            if job.status == "concluded" {
                try await removeMirror(disk, monitor)
            } else {
                do {
                    try await monitor.blockJobCancel(jobID(disk), force: true)
                } catch let error as QMPError where error.code == .command {
                    // It is ending already.
                }
            }
        }
    }

    func removeMirror(_ disk: String, _ monitor: QMPClient) async throws {
        do {
            try await monitor.jobDismiss(jobID(disk))
        } catch let error as QMPError where error.code == .command {
            // There is no job, only its node.
        }
        try await monitor.blockdevDel(node(disk))
        attached.remove(disk)
    }

    func finish(_ phase: OutgoingReport.Phase, _ reason: Reason?) async throws {
        // A migration that came far gave the disks away; what is not run does not take them back by itself.
        if record?.isPaused == true, let process, process.isAlive { try await process.monitor.activateDisks(disks) }
        let (progress, events) = (latest, events)
        try await change {
            $0.phase = phase
            $0.reason = reason
            $0.unwinding = nil
            $0.progress = progress
            $0.events = events
        }
        show(phase) { $0.reason = reason }
        sockets = []
    }

    /// Takes stock of what an earlier agent left in QEMU.
    func inherit() async {
        guard let process, process.isAlive, let record, record.phase != .handedOver, !record.isOver else { return }
        do {
            let nodes = Set(try await process.monitor.queryNamedBlockNodes().compactMap(\.nodeName))
            attached = Set(disks.filter { nodes.contains(node($0)) })
            for name in disks.map(node) + [memoryName] { try await forgetDescriptor(name, process.monitor) }
        } catch {
            logger.warning("what an earlier agent left cannot be listed", metadata: ["problem": "\(error)"])
        }
    }
}
