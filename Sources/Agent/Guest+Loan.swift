import AgentAPI
import Attempts
import Copying
import Fleet
import Foundation
import Hypervisor
import Logging

/// The source's end of a copy: orders about the loan of the server's files, or of its base images.
extension Guest {
    /// Drives on what stands in the record.
    func resumeLoan() async {
        guard let record = record.loan, record.phase == .lent else { return }
        let driver = Loan(record, of: self)
        loan = driver
        do {
            try await driver.open()
        } catch {
            logger.error("the server's files cannot be lent again", metadata: ["problem": "\(error)"])
        }
    }

    /// - Parameter wish: completes *cancel the migration first, then …*.
    func refuseWhileLent(_ wish: String) throws {
        guard let loan = record.loan, loan.bindsServer else { return }
        throw AgentProblem(
            .conflict, .invalidRequest,
            "migration \(loan.key.migration) copies server \(record.description?.name ?? server.value) to another host: cancel the migration first, then \(wish)"
        )
    }

    func lend(_ order: LendOrder) async throws -> LoanReport {
        try await obey(order.epoch) {
            if let known = record.loan, known.key == order.key {
                switch known.phase {
                case .yielded: throw AgentProblem(.owned, .invalidRequest, "server \(server) was handed over to another host")
                case .returned:
                    throw AgentProblem(
                        .conflict, .invalidRequest, "attempt \(order.key.attempt) of migration \(order.key.migration) is over here")
                case .lent: break
                }
                try await ledger.change { $0.loan?.epoch = order.epoch }
                try await loan?.open()
                return try loanReport(order.key)
            }
            try record.requireNotTakenBack(order.key)
            let guest = try requireHome()
            if order.bases == nil, process?.isAlive == true {
                throw AgentProblem(
                    .invalid, .invalidRequest, "server \(guest.name) runs: stop it first, or migrate it live")
            }
            if order.bases == nil, let outgoing = record.outgoing, !outgoing.isOver {
                throw AgentProblem(.conflict, .invalidRequest, "a live migration takes server \(guest.name) away: cancel it first")
            }
            if order.bases == nil {
                try await requireOwned(guest)
                try await requireFiles(of: guest)
            }
            // Of a migration or attempt that is over, or this epoch would not be in force.
            try await endLoan()
            let paths = paths
            let files = try await offloaded {
                if let names = order.bases {
                    return try LentFiles.bases(of: guest, only: names, paths)
                }
                return try LentFiles.all(of: guest, paths)
            }
            let begun = LoanRecord(
                epoch: order.epoch, key: order.key, enableTLS: order.enableTLS, target: order.target, isOfBases: order.bases != nil,
                files: files)
            try await ledger.change { $0.loan = begun }
            let driver = Loan(begun, of: self)
            loan = driver
            do {
                try await driver.open()
            } catch {
                try await ledger.change { $0.loan = nil }
                try await endLoan()
                throw error
            }
            return try loanReport(order.key)
        }
    }

    /// Ends the daemon, whatever the record says.
    func endLoan() async throws {
        if let loan {
            try await loan.end()
        } else {
            try await StorageDaemon.find(pidPath: paths.loanPID)?.end()
        }
        loan = nil
    }

    func loanReport(_ key: AttemptKey) throws -> LoanReport {
        guard let known = record.loan, known.key == key else {
            throw AgentProblem(
                .notFound, .invalidRequest, "attempt \(key.attempt) of migration \(key.migration) does not copy server \(server) from here")
        }
        return LoanReport(
            epoch: known.epoch, key: key, phase: known.phase, address: host.migrationAddress, port: known.port,
            isEncrypted: known.enableTLS, files: known.files)
    }

    func digests(_ order: DigestOrder) async throws -> DigestReport {
        guard let known = record.loan, known.key == order.key, known.phase == .lent else {
            throw AgentProblem(
                .notFound, .invalidRequest,
                "attempt \(order.key.attempt) of migration \(order.key.migration) does not copy server \(server) from here")
        }
        guard let file = known.files.first(where: { $0.name == order.file }) else {
            throw AgentProblem(.notFound, .invalidRequest, "\(order.file) is not lent")
        }
        var total = 0
        for run in order.chunks {
            guard (0...1 << 36).contains(run.first), run.count > 0, run.count <= DigestOrder.chunksAtMost else {
                throw AgentProblem(.invalid, .invalidRequest, "`chunks` has a run of \(run.count) from \(run.first) on")
            }
            total += run.count
        }
        guard total <= DigestOrder.chunksAtMost else {
            throw AgentProblem(.invalid, .invalidRequest, "\(total) chunks are too many for one order: \(DigestOrder.chunksAtMost) at most")
        }
        let path = try LentFiles.path(of: file, paths)
        let digests = try await offloaded {
            try FileDigests.compute(path, chunkBytes: order.chunkBytes, chunks: order.chunks.map { $0.first..<$0.first + $0.count })
        }
        return DigestReport(digests: digests.map { $0?.description ?? "" })
    }

    func yield(_ order: YieldOrder) async throws -> LoanReport {
        try await obey(order.epoch) {
            try await ledger.change { try $0.yield(order) }
            try await endLoan()
            return try loanReport(order.key)
        }
    }

    func takeBack(_ order: TakeBackOrder) async throws -> LoanReport {
        try await obey(order.epoch) {
            guard record.loan?.key == order.key else {
                guard record.tenure != .handedOver else {
                    throw AgentProblem(.conflict, .invalidRequest, "another attempt took server \(server) away")
                }
                // It was never lent under this key, so that there is nothing to take back; the order to lend it may be on its way still.
                try await ledger.change { try $0.takeBack(order) }
                return LoanReport(
                    epoch: order.epoch, key: order.key, phase: .returned, address: host.migrationAddress, port: 0, isEncrypted: false,
                    files: [])
            }
            try await ledger.change { try $0.takeBack(order) }
            try await endLoan()
            return try loanReport(order.key)
        }
    }

    /// What is left here of a server whose files were lent: nothing once it was handed over; else the server itself, with the loan ended.
    func discardLent(_ known: LoanRecord) async throws {
        switch known.phase {
        case .returned: return
        case .lent:
            try await ledger.change { $0.loan?.phase = .returned }
            try await endLoan()
        case .yielded:
            if let process, process.isAlive {
                throw AgentProblem(.owned, .invalidRequest, "server \(server) runs here against its record: nothing is removed")
            }
            await endMigrations()
            try await endLoan()
            if let guest = record.description { try await removeFiles(of: guest) }
            try await ledger.change { $0.forget() }
        }
    }

    /// Ends QEMU and what lends the server's files.
    func endProcesses() async throws {
        try await process?.end()
        try await endLoan()
    }
}
