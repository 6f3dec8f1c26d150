import AgentAPI
import AgentFakes
import Attempts
import Fleet
import Sharing

/// The orders, as `Agent.Guest` carries them out.
extension SimulatedAgent {
    // MARK: the source's end

    func mirror(_ server: ServerID, _ order: MirrorOrder) async throws -> OutgoingReport {
        try await obey(server, order.epoch, "mirror") {
            if let known = record(server).outgoing, known.key == order.key {
                if world.mutation == .mirroredAgain { host.machine(server)?.removeMirrors() }
                try change(server) {
                    $0.renew(order.epoch, order.key, bandwidth: order.bandwidth, leave: nil, target: order.target)
                }
                wake(server)
                return try outgoingNow(server, order.key)
            }
            if world.mutation != .forgottenAbort { try record(server).requireNotAborted(order.key) }
            try requireHome(server)
            if let other = record(server).outgoing, !other.isOver {
                throw AgentProblem(
                    .conflict, .invalidRequest,
                    "migration \(world.name(other.key)) takes server \(server) away already: abort that one first")
            }
            try requireOwned(server)
            guard let machine = host.machine(server) else {
                throw AgentProblem(.conflict, .guestStopped, "server \(server) does not run and cannot be migrated live")
            }
            guard machine.isRunning else {
                throw AgentProblem(.invalid, .diskError, "a fault has stopped server \(server)")
            }
            let begun = OutgoingRecord(
                epoch: order.epoch, key: order.key, phase: .mirroring, target: order.target, bandwidth: order.bandwidth,
                streams: order.streams)
            machine.removeMirrors()
            try change(server) { $0.outgoing = begun }
            drive(begun, server, isInherited: false)
            return try outgoingNow(server, order.key)
        }
    }

    func sendMemory(_ server: ServerID, _ order: MemoryOrder) async throws -> OutgoingReport {
        try await obey(server, order.epoch, "send-memory") {
            guard record(server).outgoing?.key == order.key else {
                throw AgentProblem(.conflict, .invalidRequest, "the disks of this attempt are not mirrored: order that first")
            }
            let leave = OutgoingRecord.Leave(targetAgentURL: order.targetAgentURL, rules: order.rules)
            try change(server) {
                $0.renew(order.epoch, order.key, bandwidth: order.bandwidth, leave: leave, target: order.target)
            }
            wake(server)
            return try outgoingNow(server, order.key)
        }
    }

    private func outgoingNow(_ server: ServerID, _ key: AttemptKey) throws -> OutgoingReport {
        guard let driver = outgoing[server], driver.key == key else {
            throw AgentProblem(.notFound, .invalidRequest, "\(world.name(key)) does not take server \(server) from here")
        }
        var report = driver.shown
        report.epoch = record(server).outgoing?.epoch ?? report.epoch
        return report
    }

    func abort(_ server: ServerID, _ wanted: AbortOrder) async throws -> OutgoingReport {
        var order = wanted
        if world.mutation == .abortWithoutRefusal { order.targetRefused = true }
        return try await obey(server, order.epoch, "abort") { [order] in
            guard let known = record(server).outgoing, known.key == order.key else {
                if let other = record(server).outgoing, !other.isOver, other.phase == .handedOver {
                    throw AgentProblem(.conflict, .invalidRequest, "another attempt took server \(server) away")
                }
                try change(server) { try $0.abort(order) }
                return OutgoingReport(
                    epoch: order.epoch, key: order.key, phase: .aborted, version: world.version(), progress: Fleet.Progress())
            }
            try change(server) { try $0.abort(order) }
            if outgoing[server] == nil || known.phase == .handedOver, let now = record(server).outgoing {
                drive(now, server, isInherited: true)
            }
            wake(server)
            let deadline = world.loop.now + 40_000_000
            while let driver = outgoing[server], driver.key == order.key, ![.aborted, .failed, .confirmed].contains(driver.shown.phase),
                world.loop.now < deadline
            {
                try await nextChange(server, atMost: 500_000)
            }
            let report = try outgoingNow(server, order.key)
            guard report.phase == .aborted || report.phase == .failed else {
                throw AgentProblem(.failed, .agentError, "the migration is not off yet: it is in phase \(report.phase.rawValue); ask again")
            }
            return report
        }
    }

    func outgoing(_ server: ServerID, _ key: AttemptKey, seen: Int64, waitMS: Int64) async throws -> OutgoingReport {
        let deadline = world.loop.now + waitMS * 1000
        while true {
            let report = try outgoingNow(server, key)
            guard report.version <= seen, world.loop.now < deadline else { return report }
            try await nextChange(server, atMost: deadline - world.loop.now)
        }
    }

    // MARK: the target's end

    func prepare(_ server: ServerID, _ order: PrepareOrder) async throws -> IncomingReport {
        try await obey(server, order.epoch, "prepare") {
            if record(server).refused.contains(order.key) {
                throw AgentProblem(.conflict, .invalidRequest, "this host has refused \(world.name(order.key))")
            }
            if let known = record(server).incoming, known.key == order.key {
                try change(server) { $0.incoming?.epoch = order.epoch }
                return try incomingNow(server, order.key)
            }
            switch record(server).tenure {
            case .home: throw AgentProblem(.owned, .invalidRequest, "server \(server) is on host \(host.name) already")
            case .handedOver: try makeWay(server, for: order.key)
            case .awaited: try dropIncoming(server)
            case .none: break
            }
            let begun = IncomingRecord(
                epoch: order.epoch, key: order.key, phase: .prepared, source: order.source, streams: order.streams,
                keepsFailed: order.keepsFailed)
            try change(server) { $0.expect(begun, order.description) }
            removeFiles(server)
            if !world.server(server).isShared { host.content[server] = -1 }
            await world.loop.pause(world.dice.within(5000...200_000))
            try crashPoint()
            if world.isFaulty, world.dice.hits(100) {
                let reason = Reason(.memoryShort, "QEMU does not start")
                try change(server) {
                    $0.incoming?.phase = .failed
                    $0.incoming?.reason = reason
                }
                if let failed = record(server).incoming { drive(failed, server) }
                throw AgentProblem(.failed, reason)
            }
            let machine = host.launch(server, life: 0)
            machine.isIncoming = true
            machine.hasExports = true
            try crashPoint()
            try change(server) { $0.incoming?.endpoints = Endpoints(address: host.name, nbdPort: 1, memoryPort: 2) }
            if let ready = record(server).incoming { drive(ready, server) }
            return try incomingNow(server, order.key)
        }
    }

    func handOver(_ server: ServerID, _ order: HandoverOrder) async throws -> IncomingReport {
        guard let known = record(server).incoming, known.key == order.key else {
            if record(server).refused.contains(order.key) {
                throw AgentProblem(.conflict, .invalidRequest, "this host has refused \(world.name(order.key))")
            }
            throw AgentProblem(.notFound, .invalidRequest, "\(world.name(order.key)) is not awaited here")
        }
        guard known.source == order.source else {
            throw AgentProblem(.forbidden, .invalidRequest, "server \(server) comes from \(known.source), not from \(order.source)")
        }
        if known.receipt != nil {
            try change(server) { try $0.takeStopped(order) }
            receivers[server]?.show(.owned)
            return try incomingNow(server, order.key)
        }
        guard let driver = incoming[server] else {
            throw AgentProblem(.conflict, .targetLost, "nothing waits for the guest here")
        }
        _ = try await driver.take(order)
        return try incomingNow(server, order.key)
    }

    func refuse(_ server: ServerID, _ order: RefuseOrder) async throws -> IncomingReport {
        try await obey(server, order.epoch, "refuse") {
            if let adoption = record(server).adopted ?? record(server).adopting, adoption.key == order.key {
                try giveBack(server, adoption)
            }
            try change(server) { try $0.refuse(order) }
            if record(server).incoming?.key == order.key {
                incoming[server]?.stop()
                receivers.removeValue(forKey: server)?.stop()
                try crashPoint()
                host.machine(server)?.end()
                if let refused = record(server).incoming { drive(refused, server) }
                changed(server)
            }
            return try incomingNow(server, order.key)
        }
    }

    private func incomingNow(_ server: ServerID, _ key: AttemptKey) throws -> IncomingReport {
        let record = record(server)
        if var report = [
            receivers[server].flatMap { $0.key == key ? $0.shown : nil }, incoming[server].flatMap { $0.key == key ? $0.shown : nil },
        ]
        .compactMap({ $0 }).first {
            report.epoch = record.incoming?.epoch ?? report.epoch
            return report
        }
        if let known = record.incoming, known.key == key { return IncomingDriver.report(known, version: world.version()) }
        guard record.refused.contains(key) else {
            throw AgentProblem(.notFound, .invalidRequest, "\(world.name(key)) does not bring server \(server) here")
        }
        return IncomingReport(epoch: record.epoch, key: key, phase: .refused, version: world.version())
    }

    func incoming(_ server: ServerID, _ key: AttemptKey, seen: Int64, waitMS: Int64) async throws -> IncomingReport {
        let deadline = world.loop.now + waitMS * 1000
        while true {
            let report = try incomingNow(server, key)
            guard report.version <= seen, world.loop.now < deadline else { return report }
            try await nextChange(server, atMost: deadline - world.loop.now)
        }
    }

    // MARK: both ends

    func discard(_ server: ServerID, _ order: DiscardOrder) async throws -> DiscardReport {
        if order.end == .target, record(server).kept?.key == order.key {
            return try await passing(server) {
                if let kept = record(server).kept, kept.key == order.key {
                    if record(server).tenure == .none { removeFiles(server) }
                    try change(server) { $0.kept = nil }
                }
                return DiscardReport()
            }
        }
        if order.end == .source, let rescuer = order.rescuedBy {
            return try await obey(server, order.epoch, "discard") { try giveWay(server, to: rescuer, order.epoch) }
        }
        return try await obey(server, order.epoch, "discard") {
            switch order.end {
            case .source: try discardSource(server, order)
            case .target:
                guard record(server).incoming?.key == order.key else { return DiscardReport() }
                guard record(server).incoming?.phase == .refused || record(server).incoming?.phase == .failed else {
                    throw AgentProblem(.conflict, .invalidRequest, "the target has not refused the guest: it may run here")
                }
                try dropIncoming(server, keepsCopies: order.keepsCopies == true)
            }
            return DiscardReport()
        }
    }

    private func discardSource(_ server: ServerID, _ order: DiscardOrder) throws {
        if let known = record(server).loan, known.key == order.key {
            try discardLent(known, server)
            return
        }
        guard let known = record(server).outgoing, known.key == order.key else {
            if record(server).tenure == .home { try change(server) { $0.callOff(order.key) } }
            return
        }
        guard known.phase == .confirmed || known.phase == .handedOver else {
            throw AgentProblem(.owned, .invalidRequest, "server \(server) was not handed over: it runs here, or may")
        }
        try clearSource(server)
    }

    func prove(_ server: ServerID, _ order: ProofOrder) async throws -> ProofReport {
        try await obey(server, order.epoch, "prove") {
            var report = ProofReport(storages: [:])
            for storage in order.storages {
                if storage == "shared", order.act == .write { world.nonce = order.nonce }
                let isSeen = storage == "shared" ? world.nonce == order.nonce : order.act == .write
                report.storages[storage] = ProofReport.Finding(
                    kind: storage == "shared" ? .shared : .local, isSeen: order.act != .remove && isSeen)
            }
            return report
        }
    }

    func hostFacts() -> HostFacts {
        var facts = HostFacts.staged(memoryGB: World.hostMemoryGB)
        facts.guests = host.records.keys.sorted { $0.value < $1.value }.compactMap(summary)
        return facts
    }

    private func summary(_ server: ServerID) -> GuestSummary? {
        let record = record(server)
        guard record.tenure != .none else { return nil }
        let machine = host.machine(server)
        let status: GuestSummary.Status =
            record.tenure == .handedOver
            ? .handedOver : machine.map { record.tenure == .awaited ? .incoming : $0.isRunning ? .running : .paused } ?? .stopped
        return GuestSummary(server: server, status: status, epoch: record.epoch, pid: machine.map { Int32($0.number) })
    }

    func guest(_ server: ServerID) throws -> GuestReport {
        guard let description = record(server).description, let summary = summary(server) else {
            throw AgentProblem(.notFound, .invalidRequest, "server \(server) is not on host \(host.name)")
        }
        return GuestReport(summary: summary, description: description, consoleLog: "", warnings: [])
    }

    // MARK: start and stop

    func start(_ server: ServerID, _ order: StartOrder) async throws -> GuestReport {
        try await obey(server, order.epoch, "start") {
            try requireHome(server)
            try requireOwned(server)
            if let loan = record(server).loan, loan.bindsServer {
                throw AgentProblem(
                    .conflict, .invalidRequest, "a migration copies server \(server) to another host: cancel the migration first")
            }
            try change(server) {
                $0.desired = .running
                $0.adopted?.isFinal = true
            }
            if let machine = host.machine(server) {
                machine.run()
            } else {
                let life = world.server(server).isShared ? world.server(server).highest : host.content[server] ?? -1
                let machine = host.launch(server, life: life)
                try crashPoint()
                machine.run()
            }
            return try guest(server)
        }
    }

    func stop(_ server: ServerID, _ order: StopOrder) async throws -> GuestReport {
        try await obey(server, order.epoch, "stop") {
            try requireHome(server)
            if let outgoing = record(server).outgoing, !outgoing.isOver {
                throw AgentProblem(.conflict, .invalidRequest, "a migration takes server \(server) away: cancel it first")
            }
            try change(server) { $0.desired = .stopped }
            host.machine(server)?.end()
            return try guest(server)
        }
    }

    // MARK: cold

    func lend(_ server: ServerID, _ order: LendOrder) async throws -> LoanReport {
        try await obey(server, order.epoch, "lend") {
            if let known = record(server).loan, known.key == order.key {
                switch known.phase {
                case .yielded: throw AgentProblem(.owned, .invalidRequest, "server \(server) was handed over to another host")
                case .returned: throw AgentProblem(.conflict, .invalidRequest, "\(world.name(order.key)) is over here")
                case .lent: break
                }
                try change(server) { $0.loan?.epoch = order.epoch }
                return try loan(server, order.key)
            }
            if world.mutation != .forgottenTakeBack { try record(server).requireNotTakenBack(order.key) }
            try requireHome(server)
            if host.machine(server) != nil {
                throw AgentProblem(.invalid, .invalidRequest, "server \(server) runs: stop it first, or migrate it live")
            }
            if let outgoing = record(server).outgoing, !outgoing.isOver {
                throw AgentProblem(.conflict, .invalidRequest, "a live migration takes server \(server) away: cancel it first")
            }
            try requireOwned(server)
            let begun = LoanRecord(
                epoch: order.epoch, key: order.key, enableTLS: order.enableTLS, target: order.target, isOfBases: false, files: [])
            try change(server) { $0.loan = begun }
            return try loan(server, order.key)
        }
    }

    func loan(_ server: ServerID, _ key: AttemptKey) throws -> LoanReport {
        guard let known = record(server).loan, known.key == key else {
            throw AgentProblem(.notFound, .invalidRequest, "\(world.name(key)) does not copy server \(server) from here")
        }
        return LoanReport(
            epoch: known.epoch, key: key, phase: known.phase, address: host.name, port: 1, isEncrypted: false, files: [])
    }

    func yield(_ server: ServerID, _ order: YieldOrder) async throws -> LoanReport {
        try await obey(server, order.epoch, "yield") {
            try change(server) { try $0.yield(order) }
            return try loan(server, order.key)
        }
    }

    func takeBack(_ server: ServerID, _ wanted: TakeBackOrder) async throws -> LoanReport {
        var order = wanted
        if world.mutation == .takenBackWithoutRefusal { order.targetRefused = true }
        return try await obey(server, order.epoch, "take-back") { [order] in
            guard record(server).loan?.key == order.key else {
                guard record(server).tenure != .handedOver else {
                    throw AgentProblem(.conflict, .invalidRequest, "another attempt took server \(server) away")
                }
                try change(server) { try $0.takeBack(order) }
                return LoanReport(
                    epoch: order.epoch, key: order.key, phase: .returned, address: host.name, port: 0, isEncrypted: false, files: [])
            }
            try change(server) { try $0.takeBack(order) }
            return try loan(server, order.key)
        }
    }

    func receive(_ server: ServerID, _ order: ReceiveOrder) async throws -> IncomingReport {
        try await obey(server, order.epoch, "receive") {
            if record(server).refused.contains(order.key) {
                throw AgentProblem(.conflict, .invalidRequest, "this host has refused \(world.name(order.key))")
            }
            if let known = record(server).incoming, known.key == order.key {
                try change(server) {
                    $0.incoming?.epoch = order.epoch
                    $0.incoming?.receipt?.sourceAgentURL = order.sourceAgentURL
                }
                return try incomingNow(server, order.key)
            }
            switch record(server).tenure {
            case .home: throw AgentProblem(.owned, .invalidRequest, "server \(server) is on host \(host.name) already")
            case .handedOver: try makeWay(server, for: order.key)
            case .awaited: try dropIncoming(server, keepsCopies: true)
            case .none: break
            }
            let hasCopies = record(server).kept != nil
            let begun = IncomingRecord(
                epoch: order.epoch, key: order.key, phase: .prepared, source: order.source,
                receipt: ReceiptRecord(
                    bases: nil, sourceAgentURL: order.sourceAgentURL, bandwidth: order.bandwidth, enableTLS: order.enableTLS,
                    verifies: order.verifies))
            try change(server) { record in
                record.expect(begun, order.description)
                record.loan = nil
                record.kept = nil
            }
            if !hasCopies { removeFiles(server) }
            copy(begun, server)
            return try incomingNow(server, order.key)
        }
    }

    // MARK: rescue

    func adopt(_ server: ServerID, _ order: AdoptOrder) async throws -> GuestReport {
        try await obey(server, order.epoch, "adopt") {
            if record(server).refused.contains(order.key) {
                throw AgentProblem(.conflict, .invalidRequest, "this host has refused \(world.name(order.key))")
            }
            if record(server).adopted?.key != order.key { try takeUp(server, order) }
            try requireOwned(server)
            return try guest(server)
        }
    }

    private func takeUp(_ server: ServerID, _ order: AdoptOrder) throws {
        switch record(server).tenure {
        case .home: throw AgentProblem(.owned, .invalidRequest, "server \(server) is on host \(host.name) already")
        case .handedOver:
            throw AgentProblem(.conflict, .invalidRequest, "what server \(server) left here when it moved away is not cleaned up yet")
        case .awaited: try dropIncoming(server)
        case .none: break
        }
        let found = world.server(server).owner ?? OwnerRecord(server: server, epoch: .none, host: order.owners.first ?? "")
        guard found.epoch <= order.epoch else { throw Self.problem(found) }
        guard found.host == host.name || order.owners.contains(found.host) else {
            throw AgentProblem(.failed, .notShared, "the owner record of server \(server) names host \(found.host)")
        }
        let adoption = GuestRecord.Adoption(
            key: order.key, epoch: order.epoch, before: record(server).adopting?.before ?? ["shared": found])
        try change(server) { $0.adopting = adoption }
        world.server(server).owner = OwnerRecord(server: server, epoch: order.epoch, host: host.name)
        try change(server) { $0.adopt(adoption, order.description, under: order.epoch) }
    }

    private func giveBack(_ server: ServerID, _ adoption: GuestRecord.Adoption) throws {
        guard !adoption.isFinal, host.machine(server) == nil else {
            throw AgentProblem(.owned, .invalidRequest, "this host owns server \(server) and may have run it")
        }
        let mine = OwnerRecord(server: server, epoch: adoption.epoch ?? record(server).ownedSince ?? .none, host: host.name)
        try crashPoint()
        if world.server(server).owner == mine { world.server(server).owner = adoption.before["shared"] }
        try change(server) { record in
            record.forget()
            if !record.refused.contains(adoption.key) { record.refused.append(adoption.key) }
        }
    }

    private func giveWay(_ server: ServerID, to rescuer: String, _ epoch: Epoch) throws -> DiscardReport {
        if record(server).tenure == .home {
            guard (record(server).ownedSince ?? .none) < epoch else {
                throw AgentProblem(.owned, .invalidRequest, "server \(server) is host \(host.name)'s")
            }
            try giveUp(server, to: OwnerRecord(server: server, epoch: epoch, host: rescuer))
        }
        guard let lost = record(server).lost, lost.owner.epoch <= epoch else { return DiscardReport() }
        if lost.description != nil { try change(server) { $0.lost?.description = nil } }
        return DiscardReport(endedGuest: lost.endedGuest)
    }
}
