import AgentAPI
import Attempts
import Fleet
import Foundation
import Glibc
import Hypervisor
import Logging
import QMP

/// Orders about migrations.
extension Guest {
    /// Drives on what stands in the record.
    func resumeMigrations(adopted: Bool) async {
        let record = record
        if let outgoing = record.outgoing { await drive(outgoing, adopted: adopted) }
        if let incoming = record.incoming, incoming.receipt != nil {
            await receive(incoming)
        } else if let incoming = record.incoming {
            let waits = incoming.phase == .prepared || incoming.phase == .received || incoming.isFetching
            var listener: StreamSocket?
            if waits, incoming.streams?.channels == nil, let endpoints = incoming.endpoints, process != nil {
                do {
                    listener = try StreamSocket.listen(endpoints.address, port: endpoints.memoryPort)
                } catch {
                    logger.error("memory cannot be listened for again", metadata: ["problem": "\(error)"])
                }
            }
            await drive(incoming, listener: listener)
        }
    }

    private func drive(_ record: OutgoingRecord, adopted: Bool) async {
        let disks = self.record.description?.disks.filter { !paths.isShared($0.storage) }.map(\.name) ?? []
        let driver = Outgoing(record, of: self, process: process, disks: disks, adopted: adopted)
        outgoing = driver
        await driver.start()
    }

    private func drive(_ record: IncomingRecord, listener: StreamSocket?) async {
        let driver = Incoming(record, of: self, process: process, listener: listener)
        incoming = driver
        await driver.start()
    }

    func endMigrations() async {
        await outgoing?.stop()
        await incoming?.stop()
        await receiver?.stop()
        outgoing = nil
        incoming = nil
        receiver = nil
    }

    // MARK: The source's end

    func mirror(_ order: MirrorOrder) async throws -> OutgoingReport {
        try await obey(order.epoch) {
            if let known = record.outgoing, known.key == order.key {
                try await renew(order.epoch, order.key, bandwidth: order.bandwidth, leave: nil, target: order.target)
                return try outgoingNow(order.key)
            }
            try record.requireNotAborted(order.key)
            let guest = try requireHome()
            if let other = record.outgoing, !other.isOver {
                throw AgentProblem(
                    .conflict, .invalidRequest,
                    "migration \(other.key.migration), attempt \(other.key.attempt), takes server \(server) away already: abort that one first"
                )
            }
            try requireSameShared(order.sharedDisks, guest)
            try await requireOwned(guest)
            guard let process, process.isAlive else {
                throw AgentProblem(.conflict, .guestStopped, "server \(guest.name) does not run and cannot be migrated live")
            }
            let state = try await process.monitor.queryStatus()
            guard state.running || Self.isPaused(state) else {
                throw AgentProblem(
                    .invalid, .diskError,
                    "a fault has stopped server \(guest.name) (QEMU's state is \(state.status)): mend what its disks lie on, or make room there, and have it go on with server-resume before it is migrated"
                )
            }
            try order.streams.validate()
            let begun = OutgoingRecord(
                epoch: order.epoch, key: order.key, phase: .mirroring, target: order.target, bandwidth: order.bandwidth,
                isPaused: state.running ? nil : true, streams: order.streams)
            try await ledger.change { $0.outgoing = begun }
            await outgoing?.stop()
            await drive(begun, adopted: false)
            return try outgoingNow(order.key)
        }
    }

    func sendMemory(_ order: MemoryOrder) async throws -> OutgoingReport {
        try await obey(order.epoch) {
            guard record.outgoing?.key == order.key else {
                throw AgentProblem(.conflict, .invalidRequest, "the disks of this attempt are not mirrored: order that first")
            }
            let leave = OutgoingRecord.Leave(targetAgentURL: order.targetAgentURL, rules: order.rules)
            try await renew(order.epoch, order.key, bandwidth: order.bandwidth, leave: leave, target: order.target)
            return try outgoingNow(order.key)
        }
    }

    /// Takes what an order says anew about an attempt that is under way.
    private func renew(_ epoch: Epoch, _ key: AttemptKey, bandwidth: Int64?, leave: OutgoingRecord.Leave?, target: Endpoints) async throws {
        try await ledger.change { $0.renew(epoch, key, bandwidth: bandwidth, leave: leave, target: target) }
        outgoing?.bell.ring()
    }

    /// The report of an attempt, under the epoch that stands now.
    private func outgoingNow(_ key: AttemptKey) throws -> OutgoingReport {
        if let obstacle, record.outgoing?.key == key { throw obstacle }
        guard let outgoing, outgoing.key == key else {
            throw AgentProblem(
                .notFound, .invalidRequest, "attempt \(key.attempt) of migration \(key.migration) does not take server \(server) from here")
        }
        var report = outgoing.watched.value
        report.epoch = record.outgoing?.epoch ?? report.epoch
        report.isPaused = record.outgoing?.isPaused
        return report
    }

    func abort(_ order: AbortOrder) async throws -> OutgoingReport {
        try await obey(order.epoch) {
            guard let known = record.outgoing, known.key == order.key else {
                if let other = record.outgoing, !other.isOver, other.phase == .handedOver {
                    throw AgentProblem(.conflict, .invalidRequest, "another attempt took server \(server) away")
                }
                // Its orders may be on their way still.
                try await ledger.change { try $0.abort(order) }
                return OutgoingReport(
                    epoch: order.epoch, key: order.key, phase: .aborted, version: Timestamp.microseconds, progress: Fleet.Progress())
            }
            try await ledger.change { try $0.abort(order) }
            // The driver may have ended, or wait for a target that is not there.
            if outgoing == nil || known.phase == .handedOver {
                await outgoing?.stop()
                if let now = record.outgoing { await drive(now, adopted: true) }
            }
            guard let driver = outgoing else { return try outgoingNow(order.key) }
            if driver.watched.value.phase != .switching { await driver.yank(memory: false) }
            driver.bell.ring()
            let report = await driver.watched.wait(until: .now.advanced(by: .seconds(40))) {
                [.aborted, .failed, .confirmed].contains($0.phase)
            }
            guard report.phase == .aborted || report.phase == .failed else {
                throw AgentProblem(.failed, .agentError, "the migration is not off yet: it is in phase \(report.phase.rawValue); ask again")
            }
            return try outgoingNow(order.key)
        }
    }

    func outgoingReport(_ key: AttemptKey, seen: Int64, waitMS: Int64) async throws -> OutgoingReport {
        let first = try outgoingNow(key)
        guard first.version <= seen, waitMS > 0, let driver = outgoing else { return first }
        _ = await driver.watched.wait(until: .now.advanced(by: .milliseconds(waitMS))) { $0.version > seen }
        return try outgoingNow(key)
    }

    // MARK: The target's end

    func prepare(_ order: PrepareOrder) async throws -> IncomingReport {
        try await obey(order.epoch) {
            if record.refused.contains(order.key) {
                throw AgentProblem(
                    .conflict, .invalidRequest, "this host has refused attempt \(order.key.attempt) of migration \(order.key.migration)")
            }
            if let known = record.incoming, known.key == order.key, !known.isOfBases {
                try await ledger.change { $0.incoming?.epoch = order.epoch }
                return try incomingNow(order.key)
            }
            switch record.tenure {
            case .home: throw AgentProblem(.owned, .invalidRequest, "server \(server) is on host \(host.configuration.name) already")
            case .handedOver: try await makeWay(for: order.key)
            case .awaited where record.incoming?.key == order.key: try await endReceiptOfBases()
            case .awaited: try await dropIncoming()
            case .none: break
            }
            try Medium.require(order.description.cdrom, bytes: order.cdromBytes, host: host.configuration.name)
            try host.rules.check(order.description)
            try requireSameShared(order.sharedDisks, order.description)
            try order.streams.validate()
            try await makeTarget(order)
            return try incomingNow(order.key)
        }
    }

    private func makeTarget(_ order: PrepareOrder) async throws {
        let guest = order.description
        let available = HostProbe.availableMemory
        guard guest.memoryBytes <= available else {
            throw AgentProblem(
                .failed, .memoryShort,
                "server \(guest.name) needs \(guest.memoryBytes >> 20) MiB and host \(host.configuration.name) has \(available >> 20) MiB left"
            )
        }
        let local = guest.disks.filter { !paths.isShared($0.storage) }
        for (storage, disks) in Dictionary(grouping: local, by: \.storage) {
            let folder = (try paths.diskFolder(on: storage) as NSString).deletingLastPathComponent
            try DiskImages.checkRoom(for: disks.reduce(0) { $0 + $1.sizeBytes }, in: folder, storage: storage)
        }
        let begun = IncomingRecord(
            epoch: order.epoch, key: order.key, phase: .prepared, source: order.source, streams: order.streams,
            keepsFailed: order.keepsFailed)
        try await ledger.change { $0.expect(begun, guest) }
        do {
            try await removeFiles(of: guest)
            try await requireFiles(of: guest)
            for disk in local { try await host.images.ensure(disk, at: try paths.disk(disk), from: nil) }
            if guest.disks.first.map({ !paths.isShared($0.storage) }) ?? true { try makeVariables(for: guest) }
            let process = try await launch(guest, for: .incoming)
            let (endpoints, listener) = try await open(process, local, order)
            try await ledger.change { $0.incoming?.endpoints = endpoints }
            try await ledger.layOutSlot()
            if let ready = record.incoming { await drive(ready, listener: listener) }
        } catch {
            logger.warning("the target cannot be prepared", metadata: ["problem": "\(error)"])
            let reason = (error as? AgentProblem)?.reason ?? Reason(.qemuError, "the target cannot be prepared: \(error)")
            try await ledger.change {
                $0.incoming?.phase = .failed
                $0.incoming?.reason = reason
            }
            try await process?.end()
            release()
            if let failed = record.incoming { await drive(failed, listener: nil) }
            throw AgentProblem(.failed, reason)
        }
    }

    /// Gives up an attempt that was prepared here, durably, and removes what it made.
    ///
    /// - Parameter reason: why, where whoever gives it up says so.
    /// - Parameter keepsCopies: what was copied stays, for another attempt to go on with.
    func dropIncoming(_ reason: Reason? = nil, keepsCopies: Bool = false) async throws {
        try await ledger.change { try $0.giveUpIncoming() }
        await incoming?.stop()
        incoming = nil
        await receiver?.stop()
        receiver = nil
        if let process, process.isAlive { try await process.end() }
        release()
        if keepsCopies, let guest = record.description, let key = record.incoming?.key, record.incoming?.receipt != nil {
            return try await ledger.change {
                $0.forget()
                $0.kept = KeptCopies(key: key, description: guest)
            }
        }
        if let guest = record.description {
            if let incoming = record.incoming, incoming.keepsFailed == true, reason?.code != .cancelled {
                let why = incoming.reason ?? reason ?? Reason(.agentError, "the attempt was given up, and nobody said why")
                try await KeptGuests(host.paths).keep(guest, of: incoming.key, paths: paths, reason: why)
            }
            try await removeFiles(of: guest)
            try await removeBaseCopies(of: guest)
        }
        try await ledger.change { $0.forget() }
    }

    func handOver(_ order: HandoverOrder) async throws -> IncomingReport {
        guard let known = record.incoming, known.key == order.key else {
            if record.refused.contains(order.key) {
                throw AgentProblem(
                    .conflict, .invalidRequest, "this host has refused attempt \(order.key.attempt) of migration \(order.key.migration)")
            }
            throw AgentProblem(
                .notFound, .invalidRequest, "attempt \(order.key.attempt) of migration \(order.key.migration) is not awaited here")
        }
        guard known.source == order.source else {
            throw AgentProblem(.forbidden, .invalidRequest, "server \(server) comes from \(known.source), not from \(order.source)")
        }
        if let obstacle { throw obstacle }
        if known.receipt != nil { return try await takeStopped(order) }
        guard let incoming else {
            throw AgentProblem(.conflict, .targetLost, "nothing waits for the guest here")
        }
        _ = try await incoming.take(order)
        return try incomingNow(order.key)
    }

    func refuse(_ order: RefuseOrder) async throws -> IncomingReport {
        try await obey(order.epoch) {
            if let adoption = record.adopted ?? record.adopting, adoption.key == order.key { try await giveBack(adoption) }
            if !order.isFinal, record.incoming?.key == order.key, let incoming, try await incoming.holdsOnlyCopy() {
                throw AgentProblem(
                    .conflict, .invalidRequest, "post-copy has begun: the guest can run here alone, and waits for the handover")
            }
            try await ledger.change { try $0.refuse(order) }
            if record.incoming?.key == order.key {
                await incoming?.stop()
                await receiver?.stop()
                receiver = nil
                if let process, process.isAlive { try await process.end() }
                release()
                if let refused = record.incoming { await drive(refused, listener: nil) }
            }
            return try incomingNow(order.key)
        }
    }

    func incomingNow(_ key: AttemptKey) throws -> IncomingReport {
        if let obstacle, record.incoming?.key == key { throw obstacle }
        if let receiver, receiver.key == key {
            var report = receiver.watched.value
            report.epoch = record.incoming?.epoch ?? report.epoch
            return report
        }
        if let incoming, incoming.key == key {
            var report = incoming.watched.value
            report.epoch = record.incoming?.epoch ?? report.epoch
            return report
        }
        if let known = record.incoming, known.key == key { return Incoming.report(known) }
        guard record.refused.contains(key) else {
            throw AgentProblem(
                .notFound, .invalidRequest, "attempt \(key.attempt) of migration \(key.migration) does not bring server \(server) here")
        }
        return IncomingReport(epoch: record.epoch, key: key, phase: .refused, version: Timestamp.microseconds)
    }

    func incomingReport(_ key: AttemptKey, seen: Int64, waitMS: Int64) async throws -> IncomingReport {
        let first = try incomingNow(key)
        if first.version <= seen, waitMS > 0, let receiver, receiver.key == key {
            _ = await receiver.watched.wait(until: .now.advanced(by: .milliseconds(waitMS))) { $0.version > seen }
            return try incomingNow(key)
        }
        guard first.version <= seen, waitMS > 0, let driver = incoming, driver.key == key else { return first }
        _ = await driver.watched.wait(until: .now.advanced(by: .milliseconds(waitMS))) { $0.version > seen }
        return try incomingNow(key)
    }

    // MARK: Both ends

    func discard(_ order: DiscardOrder) async throws -> DiscardReport {
        if order.end == .target, record.kept?.key == order.key { return try await discardKept(order) }
        if order.end == .source, let rescuer = order.rescuedBy {
            // It says whose the server is, so that nothing need be read for that: with the server its folder may be gone by now.
            return try await obey(order.epoch, despiteAll: true) {
                let report = try await giveWay(to: rescuer, order.epoch)
                isInDoubt = false
                return report
            }
        }
        return try await obey(order.epoch) {
            switch order.end {
            case .source: try await discardSource(order)
            case .target:
                guard record.incoming?.key == order.key else { return DiscardReport() }
                guard record.incoming?.phase == .refused || record.incoming?.phase == .failed else {
                    throw AgentProblem(.conflict, .invalidRequest, "the target has not refused the guest: it may run here")
                }
                try await dropIncoming(order.reason, keepsCopies: order.keepsCopies == true)
            }
            return DiscardReport()
        }
    }

    /// Nothing of a guest, but files that only a next attempt would take up: under any epoch, also one that is older than that attempt's.
    private func discardKept(_ order: DiscardOrder) async throws -> DiscardReport {
        try await turnstile.pass {
            if let obstacle { throw obstacle }
            if let kept = record.kept, kept.key == order.key { try await dropKept(kept) }
            return DiscardReport()
        }
    }

    private func discardSource(_ order: DiscardOrder) async throws {
        if let known = record.loan, known.key == order.key {
            try await discardLent(known)
            // Base images alone were lent: the server itself went, if it did, by its streams.
            guard known.isOfBases, record.outgoing?.key == order.key, record.tenure == .handedOver else { return }
        }
        guard let known = record.outgoing, known.key == order.key else {
            // What was to begin the attempt may come yet, and must not bind a server that nobody would free again.
            if record.tenure == .home { try await ledger.change { $0.callOff(order.key) } }
            return
        }
        guard known.phase == .confirmed || known.phase == .handedOver else {
            throw AgentProblem(.owned, .invalidRequest, "server \(server) was not handed over: it runs here, or may")
        }
        try await clearSource()
    }

    /// Removes what the server left when it moved away, for a migration that brings it back.
    ///
    /// A server has one unfinished migration: when another comes, the one that took it away has ended, and where it is was committed.
    func makeWay(for key: AttemptKey) async throws {
        let loan = record.loan.flatMap { $0.phase == .yielded ? $0 : nil }
        guard let away = loan?.key ?? record.outgoing?.key, away.migration != key.migration else {
            throw AgentProblem(.conflict, .invalidRequest, "what server \(server) left here when it moved away is not cleaned up yet")
        }
        if let loan { try await discardLent(loan) } else { try await clearSource() }
    }

    /// Has nothing left of a guest that was handed over.
    private func clearSource() async throws {
        if let process, process.isAlive, try await process.monitor.queryStatus().running {
            throw AgentProblem(.owned, .invalidRequest, "server \(server) runs here against its record: nothing is removed")
        }
        if record.outgoing?.postCopy == .begun, let process, process.isAlive, try await process.monitor.queryMigrate().status != "completed"
        {
            throw AgentProblem(
                .conflict, .invalidRequest,
                "the target still fetches memory of server \(server) from here: nothing is removed before it has all")
        }
        await endMigrations()
        try await endLoan()
        if let process, process.isAlive { try await process.end() }
        release()
        if let guest = record.description { try await removeFiles(of: guest) }
        try await ledger.change { $0.forget() }
    }
}
