package import AgentAPI
import Attempts
package import Fleet
import Foundation
import Glibc
import Hypervisor
import Logging
import Measuring
import QMP
import Sharing

/// What is asked before a migration. None of it changes anything about a guest.
extension HostAgent {
    package func measure(_ server: ServerID, _ order: MeasureOrder) async throws -> MeasureReport {
        let guest = try known(server)
        guard let description = await guest.record.description else {
            throw AgentProblem(.notFound, .invalidRequest, "server \(server) is not on host \(host.configuration.name)")
        }
        var report = MeasureReport(isRunning: false, memoryBytes: description.memoryBytes)
        for disk in description.disks {
            let path = try guest.paths.disk(disk)
            do {
                let bytes = try await allocatedBytes(of: path, on: disk.storage)
                report.disks.append(DiskMeasure(name: disk.name, storage: disk.storage, allocatedBytes: bytes))
            } catch let problem as AgentProblem {
                report.warnings.append("disk \(disk.name) cannot be looked at: \(problem.reason.message)")
            }
        }
        var bases: [DiskMeasure] = []
        for need in BaseNeeds(of: description).needs {
            // One that is missing is told of when it is asked for.
            guard let folder = try? guest.paths.storageFolder(need.storage), let path = try? BaseImages.path(need.base, on: folder),
                let bytes = try? await allocatedBytes(of: path, on: need.storage)
            else { continue }
            bases.append(DiskMeasure(name: need.base.name, storage: need.storage, allocatedBytes: bytes))
        }
        report.bases = bases
        guard let process = await guest.process, process.isAlive else { return report }
        report.isRunning = try await process.monitor.queryStatus().running
        guard order.watches else { return report }
        let outcome = try await DirtyRateProbe(monitor: process.monitor, pid: process.pid, memoryBytes: description.memoryBytes).run()
        report.memoryUsedBytes = outcome.usedBytes
        report.dirtied = outcome.dirtied
        report.warnings += outcome.warnings
        return report
    }

    package func cpuFeatures(_ server: ServerID) async throws -> CPUFeaturesReport {
        let guest = try known(server)
        guard let description = await guest.record.description, let process = await guest.process, process.isAlive else {
            throw AgentProblem(.conflict, .guestStopped, "server \(server) does not run on host \(host.configuration.name)")
        }
        // Of the guest's own QEMU: what a model means hangs on the machine type.
        let given = try await process.monitor.queryCPUModelExpansion(description.cpuModel)
        let base = try await process.monitor.queryCPUModelExpansion("base")
        return CPUFeaturesReport(features: CPUFeatures.offered(by: given, beyond: base))
    }

    package func checkCPU(_ order: CPUCheckOrder) async throws -> CPUCheckReport {
        let offered = CPUFeatures.offered(by: host.qemu.mostCPU, beyond: host.qemu.leastCPU)
        return CPUCheckReport(missing: CPUFeatures.missing(order.features, from: offered))
    }

    package func awaitRehearsal(_ order: RehearsalOrder) async throws -> RehearsalPlace {
        guard (1...64).contains(order.id.utf8.count), order.id.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7f }) else {
            throw AgentProblem(.invalid, .invalidRequest, "a rehearsal's id must be 1 to 64 plain characters")
        }
        var file: String?
        if let storage = order.storage {
            guard let path = host.configuration.storages.first(where: { $0.name == storage })?.path else {
                throw AgentProblem(.invalid, .invalidRequest, "host \(host.configuration.name) has no storage \(storage)")
            }
            file = "\(path)/.rehearsal-\(fingerprint(order.id))"
        }
        let receiver = try Rehearsal.Receiver(order.id, on: host.migrationAddress, into: file)
        rehearsals.begin { [logger = host.logger] in
            do {
                try await receiver.run()
            } catch {
                // The source tells who asked; here it is told why.
                logger.info("a rehearsal was not taken", metadata: ["rehearsal": "\(order.id)", "problem": "\(error)"])
            }
        }
        return receiver.place
    }

    package func rehearse(_ server: ServerID, _ order: RehearseOrder) async throws -> RehearsalReport {
        let guest = try known(server)
        var file: String?
        if let name = order.disk {
            guard let disk = await guest.record.description?.disks.first(where: { $0.name == name }) else {
                throw AgentProblem(.invalid, .invalidRequest, "server \(server) has no disk \(name) on host \(host.configuration.name)")
            }
            file = try guest.paths.disk(disk)
        }
        return try await Rehearsal.send(order, from: file)
    }

    private func allocatedBytes(of path: String, on storage: String) async throws -> Int64 {
        try await host.owners.answer(of: storage) {
            var status = stat()
            guard stat(path, &status) == 0 else {
                throw AgentProblem(.failed, .diskError, "\(path): \(systemMessage(errno))")
            }
            // POSIX leaves the unit open; Linux counts 512 bytes whatever the file system.
            return Int64(status.st_blocks) * 512
        }
    }
}
