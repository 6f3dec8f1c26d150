import AgentAPI
import Attempts
import Fleet
import Foundation
import Glibc
import Hypervisor
import Logging
import Sharing

/// A server whose disks other hosts see too: whose it is, and how it changes hands without the host that it leaves.
extension Guest {
    static func problem(_ owner: OwnerRecord) -> AgentProblem {
        AgentProblem(
            .owned, .staleEpoch, "server \(owner.server) is host \(owner.host)'s since epoch \(owner.epoch) and shall not run here")
    }

    // MARK: Whose it is

    /// What the owner records say of a server that is this host's by its books; nil when there is nothing to ask.
    private func verdict() async throws -> OwnerRule.Verdict? {
        guard record.tenure == .home, let guest = record.description else { return nil }
        let storages = paths.sharedStorages(of: guest)
        guard !storages.isEmpty else { return nil }
        let found = try await host.owners.read(storages, of: paths)
        // It may have left in the meantime.
        let record = record
        guard record.tenure == .home else { return nil }
        return OwnerRule.judge(found, host: host.configuration.name, since: record.ownedSince ?? record.epoch)
    }

    /// At the agent's start, before anything is done with what an earlier one left: whether the server is somebody else's by now. Then its
    /// guest is ended.
    func isLost() async -> Bool {
        do {
            guard case .lost(let owner) = try await verdict() else { return false }
            try await giveUp(to: owner)
            return true
        } catch {
            logger.error("whose the server is cannot be read: its migrations wait", metadata: ["problem": "\(error)"])
            isInDoubt = true
            return false
        }
    }

    /// Looks whose the server is, and ends its guest when it is somebody else's.
    func lookForOwner() async {
        guard !isLooking else { return }
        isLooking = true
        defer { isLooking = false }
        do {
            try await regain()
            switch try await verdict() {
            case nil, .mine: break
            case .write:
                try await turnstile.pass {
                    // Somebody may have taken the server over while other orders had their turn.
                    guard case .write(let storages) = try await verdict() else { return }
                    try await host.owners.write(record.ownedSince ?? record.epoch, on: storages, of: paths)
                }
            case .lost(let owner):
                // At once, past whatever order is under way.
                let wasThere = try await killGuest()
                try await turnstile.pass { try await giveUp(to: owner, hadGuest: wasThere) }
            }
            ownerTrouble = nil
            if isInDoubt {
                await turnstile.pass {
                    isInDoubt = false
                    await resume()
                }
            }
        } catch is CancellationError {
            return
        } catch {
            let trouble = "\(error)"
            if trouble != ownerTrouble { logger.error("whose the server is cannot be read", metadata: ["problem": .string(trouble)]) }
            ownerTrouble = trouble
        }
    }

    /// Takes the server up again that was given up to a rescue which was then taken back: the owner records name this host again.
    private func regain() async throws {
        guard let guest = try await regainable() else { return }
        try await turnstile.pass {
            guard let lost = record.lost, try await regainable() == guest else { return }
            try await ledger.change { record in
                record.own(under: lost.ownedSince ?? .none)
                record.description = guest
            }
            logger.notice("the rescue of the server was taken back, and it is this host's again")
        }
    }

    private func regainable() async throws -> GuestDescription? {
        guard record.tenure == .none, let lost = record.lost, let guest = lost.description else { return nil }
        let found = try await host.owners.read(paths.sharedStorages(of: guest), of: paths)
        let isOurs = found.values.allSatisfy { $0?.host == host.configuration.name }
        return isOurs && !found.isEmpty ? guest : nil
    }

    /// - Throws: ``AgentProblem`` when the server is another host's by now, or when that cannot be read.
    func requireOwned(_ guest: GuestDescription) async throws {
        switch try await verdict() {
        case nil, .mine: return
        case .write(let storages): try await host.owners.write(record.ownedSince ?? record.epoch, on: storages, of: paths)
        case .lost(let owner):
            try await giveUp(to: owner)
            throw Self.problem(owner)
        }
    }

    /// Has no guest of the server here any more. True when there was one.
    private func killGuest() async throws -> Bool {
        guard let process else { return try await GuestProcess.killLeft(paths) }
        guard process.isAlive else { return false }
        try await process.kill()
        return true
    }

    /// Ends the guest and forgets the server, which is somebody else's. Its disks are left alone.
    private func giveUp(to owner: OwnerRecord, hadGuest: Bool = false) async throws {
        guard record.tenure == .home else { return }
        // Not by its monitor: what QEMU would write at its end would go into the new owner's disks.
        let killed = try await killGuest()
        let endedGuest = killed || hadGuest
        logger.warning(
            "the server is another host's by now and is given up",
            metadata: ["owner": .string(owner.host), "epoch": "\(owner.epoch)", "ended-guest": "\(endedGuest)"])
        await endMigrations()
        release()
        for path in [paths.console, paths.log] { unlink(path) }
        if record.description?.tpm != nil {
            try await TPMEmulator.end(paths)
            try tpm.clear()
        }
        try await ledger.change { $0.lose(to: owner, endedGuest: endedGuest) }
        try await endLoan()
    }

    /// The source's end of a rescue, once its host is back: whatever guest is still here is ended, and no disk is touched.
    func giveWay(to rescuer: String, _ epoch: Epoch) async throws -> DiscardReport {
        if record.tenure == .home {
            guard (record.ownedSince ?? .none) < epoch else {
                throw AgentProblem(
                    .owned, .invalidRequest,
                    "server \(server) is host \(host.configuration.name)'s since epoch \(record.ownedSince ?? .none)")
            }
            try await giveUp(to: OwnerRecord(server: server, epoch: epoch, host: rescuer))
        }
        guard let lost = record.lost, lost.owner.epoch <= epoch else { return DiscardReport() }
        // The rescue is through.
        if lost.description != nil { try await ledger.change { $0.lost?.description = nil } }
        return DiscardReport(endedGuest: lost.endedGuest)
    }

    // MARK: Taking and giving

    /// Makes the server's folders on shared storages and writes this host down there as its owner, before there is anything else in them.
    /// - Throws: ``AgentProblem`` when there is something of another host there already.
    func claimShared(_ guest: GuestDescription, _ epoch: Epoch) async throws {
        let storages = paths.sharedStorages(of: guest)
        for storage in storages {
            let folder = try paths.diskFolder(on: storage)
            let isThere = try await offloaded {
                guard mkdir(folder, 0o700) != 0 else {
                    try DurableFile.syncFolder(of: folder)
                    return false
                }
                guard errno == EEXIST else {
                    throw AgentProblem(
                        .failed, .diskError, "\(folder) cannot be made on shared storage \(storage): \(systemMessage(errno))")
                }
                return try !FileManager.default.contentsOfDirectory(atPath: folder).isEmpty
            }
            guard isThere else { continue }
            guard let owner = try await host.owners.read([storage], of: paths)[storage] ?? nil, owner.host == host.configuration.name else {
                throw AgentProblem(
                    .conflict, .invalidRequest, "\(folder) is there already and not this host's: remove it when nobody needs it")
            }
        }
        try await host.owners.write(epoch, on: storages, of: paths)
    }

    /// - Throws: ``AgentProblem`` `not-shared` when something of a guest that every host should see is not to be seen here.
    func requireFiles(of guest: GuestDescription) async throws {
        var files: [(what: String, storage: String, path: String)] = []
        for disk in guest.disks where paths.isShared(disk.storage) { files.append((disk.name, disk.storage, try paths.disk(disk))) }
        if guest.firmware == .uefi, let first = guest.disks.first, paths.isShared(first.storage) {
            files.append(("the firmware's variables", first.storage, try paths.nvram(of: guest)))
        }
        for file in files {
            guard try await !host.owners.answer(of: file.storage, { access(file.path, F_OK) == 0 }) else { continue }
            throw AgentProblem(
                .failed, .notShared,
                "\(file.what) of server \(guest.name) should be on shared storage \(file.storage), and host \(host.configuration.name) finds no \(file.path): is the same storage mounted there?"
            )
        }
    }

    /// Both ends of a live migration must leave the same disks alone.
    /// - Throws: ``AgentProblem`` `not-shared` when this one would not.
    func requireSameShared(_ disks: [String], _ guest: GuestDescription) throws {
        let here = paths.sharedDisks(of: guest)
        guard Set(here) != Set(disks) else { return }
        func list(_ names: [String]) -> String { names.isEmpty ? "no disk" : names.sorted().joined(separator: ", ") }
        throw AgentProblem(
            .failed, .notShared,
            "host \(host.configuration.name) has \(list(here)) of server \(guest.name) on shared storage, and the order says \(list(disks)): give the storages the same kind on both hosts"
        )
    }

    func prove(_ order: ProofOrder) async throws -> ProofReport {
        try await obey(order.epoch) { try await host.owners.carryOut(order, for: paths) }
    }

    func adopt(_ order: AdoptOrder) async throws -> GuestReport {
        try await obey(order.epoch) {
            if record.refused.contains(order.key) {
                throw AgentProblem(
                    .conflict, .invalidRequest, "this host has refused attempt \(order.key.attempt) of migration \(order.key.migration)")
            }
            if record.adopted?.key != order.key { try await takeUp(order) }
            try await requireOwned(order.description)
            return try await report()
        }
    }

    private func takeUp(_ order: AdoptOrder) async throws {
        let guest = order.description
        switch record.tenure {
        case .home: throw AgentProblem(.owned, .invalidRequest, "server \(server) is on host \(host.configuration.name) already")
        case .handedOver:
            throw AgentProblem(.conflict, .invalidRequest, "what server \(server) left here when it moved away is not cleaned up yet")
        case .awaited: try await dropIncoming()
        case .none: break
        }
        if let disk = guest.disks.first(where: { !paths.isShared($0.storage) }) {
            throw AgentProblem(
                .invalid, .localDisk,
                "disk \(disk.name) of server \(guest.name) is on storage \(disk.storage), which is not shared on host \(host.configuration.name)"
            )
        }
        try host.rules.check(guest)
        try await requireFiles(of: guest)
        if guest.disks.isEmpty { try makeVariables(for: guest) }
        let storages = paths.sharedStorages(of: guest)
        let before = try await host.owners.read(storages, of: paths).mapValues {
            $0 ?? OwnerRecord(server: server, epoch: .none, host: order.owners.first ?? "")
        }
        for (storage, owner) in before.sorted(by: { $0.key < $1.key }) {
            try requireLeft(owner, on: storage, by: order)
        }
        // What an earlier try of this host wrote there is not what it found.
        let adoption = GuestRecord.Adoption(key: order.key, epoch: order.epoch, before: record.adopting?.before ?? before)
        try await ledger.change { $0.adopting = adoption }
        // First, so that a host that still runs the guest ends it as early as can be.
        try await host.owners.write(order.epoch, on: storages, of: paths)
        try await ledger.change { $0.adopt(adoption, guest, under: order.epoch) }
    }

    /// - Throws: ``AgentProblem`` when the owner record is newer than the order, or of a host that the order does not know of.
    private func requireLeft(_ owner: OwnerRecord, on storage: String, by order: AdoptOrder) throws {
        guard owner.epoch <= order.epoch else { throw Self.problem(owner) }
        guard owner.host != host.configuration.name, !order.owners.contains(owner.host) else { return }
        throw AgentProblem(
            .failed, .notShared,
            "the owner record of server \(order.description.name) on storage \(storage) names host \(owner.host) under epoch \(owner.epoch), and not \(order.owners.joined(separator: " or ")): this is not the storage that it used, or an old copy; if it is the right one, remove \(try paths.diskFolder(on: storage))/\(OwnerDesk.file) and try again"
        )
    }

    /// A rescue is undone before anything was started: the server is its former owner's again.
    func giveBack(_ adoption: GuestRecord.Adoption) async throws {
        guard !adoption.isFinal, process?.isAlive != true else {
            throw AgentProblem(.owned, .invalidRequest, "this host owns server \(server) and may have run it")
        }
        let found = try await host.owners.read(Array(adoption.before.keys), of: paths)
        let mine = OwnerRecord(
            server: server, epoch: adoption.epoch ?? record.ownedSince ?? .none, host: host.configuration.name)
        // Where somebody else has adopted it meanwhile, it is theirs.
        try await host.owners.restore(adoption.before.filter { found[$0.key] == mine }, of: paths)
        try await ledger.change { record in
            record.forget()
            if !record.refused.contains(adoption.key) { record.refused.append(adoption.key) }
        }
    }
}
