import AgentAPI
import Attempts
import Failpoints
import Fleet
import Foundation
import Glibc
import Guarding
import Hypervisor
import Logging
import QMP
import Sharing

/// One server on this host: its record, its QEMU, and the ends of migrations that bring or take it.
///
/// Orders pass one at a time; reports do not wait for them.
actor Guest {
    nonisolated let server: ServerID
    nonisolated let paths: GuestPaths
    nonisolated let host: HostContext
    nonisolated let ledger: Ledger
    nonisolated let tpm: TPMState
    nonisolated let logger: Logger
    let turnstile = Turnstile()
    private(set) var process: GuestProcess?
    private var watch: Task<Void, Never>?
    /// A QEMU of an earlier agent is there and does not answer: of the guest nothing is known but that.
    private var isHanging = false
    private var attaching: Task<Void, Never>?
    var outgoing: Outgoing?
    var incoming: Incoming?
    var receiver: Receiver?
    var loan: Loan?
    private var isClosed = false
    /// An owner record is being read.
    var isLooking = false
    /// Owner records could not be read when the agent started: what it would go on with waits.
    var isInDoubt = false
    /// Why owner records cannot be read, to be told once.
    var ownerTrouble: String?

    /// - Throws: ``AgentProblem`` when the server has a record that cannot be read.
    init(_ server: ServerID, host: HostContext) throws {
        self.server = server
        self.paths = host.paths.of(server)
        self.host = host
        self.tpm = TPMState(paths)
        self.ledger = try Ledger(path: paths.record, server: server)
        var logger = host.logger
        logger[metadataKey: "server"] = .stringConvertible(server)
        self.logger = logger
    }

    var record: GuestRecord { ledger.record }

    /// Takes up what an earlier agent left: its QEMU, and the migrations under way.
    func restore() async {
        // An agent can die between the end of a loan and that of its daemon.
        if record.loan?.phase != .lent {
            do {
                try await StorageDaemon.find(pidPath: paths.loanPID)?.end()
            } catch {
                // It ends by itself (``StorageDaemon/orphanLimit``), and sooner with the next order about the loan.
                logger.warning("a storage daemon of an earlier loan is left", metadata: ["problem": "\(error)"])
            }
        }
        if await isLost() { return }
        do {
            let found = try await GuestProcess.find(paths, logger: logger)
            // And between the start of a TPM and that of the QEMU which is to connect to it: without one nobody would end it.
            if found == nil { try await TPMEmulator.end(paths) }
            adopt(found)
        } catch {
            logger.error("a guest cannot be attached to", metadata: ["problem": "\(error)"])
            isHanging = true
            attaching = Task { [weak self] in
                while !Task.isCancelled, await self?.attach() == false {
                    await Bell().wait(after: 0, until: .now.advanced(by: .seconds(1)))
                }
            }
        }
        await resume()
    }

    /// Goes on with what an earlier agent left, as soon as nothing stands in the way of that.
    func resume() async {
        guard obstacle == nil else { return }
        await resumeMigrations(adopted: true)
        await resumeLoan()
    }

    /// True once nothing is left to attach to.
    private func attach() async -> Bool {
        do {
            let found = try await GuestProcess.find(paths, logger: logger)
            await turnstile.pass {
                guard isHanging, !isClosed else {
                    found?.leave()
                    return
                }
                isHanging = false
                if found == nil { release() }
                adopt(found)
                await resume()
            }
            return true
        } catch {
            return isClosed
        }
    }

    /// Why orders must wait, and what is asked about migrations cannot be answered: whose the server is, or what its guest does, is not known.
    var obstacle: AgentProblem? {
        if isInDoubt {
            return AgentProblem(
                .unreachable, .agentError,
                "whose server \(server) is cannot be read on host \(host.configuration.name): \(ownerTrouble ?? "its shared storage does not answer")"
            )
        }
        let pid: Int32
        switch whatIsLeft {
        case .nothing: return nil
        case .hidden(let problem):
            return AgentProblem(
                .unreachable, problem.reason.code,
                "whether server \(server) has a guest on host \(host.configuration.name) cannot be seen: \(problem.reason.message)")
        case .guest(let left): pid = left
        }
        return AgentProblem(
            .unreachable, .qemuError,
            "QEMU of server \(server) (pid \(pid) on host \(host.configuration.name)) is there and its monitor does not answer: wait, or stop the server with --force"
        )
    }

    /// Leaves QEMU to itself and ends what the agent does about it.
    func close() async {
        isClosed = true
        watch?.cancel()
        attaching?.cancel()
        await outgoing?.stop()
        await incoming?.stop()
        await receiver?.stop()
        await loan?.stop()
        process?.leave()
        await watch?.value
        await attaching?.value
    }

    // MARK: Orders

    /// Passes an order: in its turn, with its epoch obeyed and on the disk before anything is done.
    /// - Parameter despiteAll: the order needs to know nothing of the guest.
    func obey<Result>(_ epoch: Epoch, despiteAll: Bool = false, _ body: () async throws -> Result) async throws -> Result {
        try await turnstile.pass {
            if !despiteAll, let obstacle { throw obstacle }
            try await ledger.change { try $0.admit(epoch) }
            return try await body()
        }
    }

    func define(_ order: DefineOrder) async throws -> GuestReport {
        try await obey(order.epoch) {
            let storages = try Set(
                order.description.disks.filter { order.bases[$0.name] != nil }.map { try host.paths.storage($0.storage) })
            return try await BaseImages.holding(storages.sorted()) { try await make(order) }
        }
    }

    private func make(_ order: DefineOrder) async throws -> GuestReport {
        let images = try await look(at: order.images, for: order.description)
        var wish = try await takeBases(order)
        for index in wish.disks.indices where wish.disks[index].sizeBytes == 0 {
            guard let image = images[wish.disks[index].name] else {
                throw AgentProblem(
                    .invalid, .invalidRequest,
                    "disk \(wish.disks[index].name) has neither a size, nor an image or a base to take it from: give one of them")
            }
            wish.disks[index].sizeBytes = (image.look.virtualSize + 511) / 512 * 512
        }
        let (guest, warnings) = try host.rules.pin(wish)
        try refuseUnlessFree(for: guest)
        try await makeFiles(for: guest, images: images, epoch: order.epoch)
        try await ledger.change { record in
            if record.tenure != .home { record.own(under: order.epoch) }
            record.description = guest
            record.warnings = warnings
        }
        return try await report()
    }

    private func look(
        at images: [String: String], for guest: GuestDescription
    ) async throws -> [String: (path: String, look: DiskImages.Image)] {
        var result: [String: (path: String, look: DiskImages.Image)] = [:]
        for (name, path) in images {
            guard let disk = guest.disks.first(where: { $0.name == name }) else {
                throw AgentProblem(.invalid, .invalidRequest, "there is an image for \(name), which is no disk of the server")
            }
            let look = try await host.images.inspect(image: path)
            guard disk.sizeBytes == 0 || disk.sizeBytes >= look.virtualSize else {
                throw AgentProblem(
                    .invalid, .invalidRequest,
                    "\(path) has \(look.virtualSize) bytes and does not fit on disk \(name) of \(disk.sizeBytes) bytes: make the disk larger"
                )
            }
            result[name] = (path, look)
        }
        return result
    }

    /// The description with what its disks are to rest on, all of it in place.
    private func takeBases(_ order: DefineOrder) async throws -> GuestDescription {
        var guest = order.description
        for (name, path) in order.bases.sorted(by: { $0.key < $1.key }) {
            guard let index = guest.disks.firstIndex(where: { $0.name == name }) else {
                throw AgentProblem(.invalid, .invalidRequest, "there is a base for \(name), which is no disk of the server")
            }
            let disk = guest.disks[index]
            guard disk.format == .qcow2, order.images[name] == nil else {
                throw AgentProblem(
                    .invalid, .invalidRequest, "disk \(name) cannot rest on \(path): only a qcow2 disk without an image of its own can")
            }
            let bases = try await BaseImages(images: host.images).take(path, into: host.paths.storage(disk.storage), named: disk.storage)
            let size = bases.first?.sizeBytes ?? 0
            guard disk.sizeBytes == 0 || disk.sizeBytes >= size else {
                throw AgentProblem(
                    .invalid, .invalidRequest,
                    "\(path) has \(size) bytes and disk \(name) only \(disk.sizeBytes): make the disk at least as large as what it rests on"
                )
            }
            guest.disks[index].bases = bases
            if disk.sizeBytes == 0 { guest.disks[index].sizeBytes = (size + 511) / 512 * 512 }
        }
        return guest
    }

    private func refuseUnlessFree(for guest: GuestDescription) throws {
        switch record.tenure {
        case .none: return
        case .home where record.description == guest: return
        case .home: throw AgentProblem(.conflict, .invalidRequest, "server \(server) is defined here in another way: delete it first")
        case .awaited: throw AgentProblem(.conflict, .invalidRequest, "a migration brings server \(server) here")
        case .handedOver: throw AgentProblem(.owned, .invalidRequest, "server \(server) was handed over to another host")
        }
    }

    /// Makes the disks and what else the guest keeps here. Leaves nothing behind when it fails, unless the guest was here before.
    private func makeFiles(
        for guest: GuestDescription, images: [String: (path: String, look: DiskImages.Image)], epoch: Epoch
    ) async throws {
        let isNew = record.tenure == .none
        if isNew { try await claimShared(guest, epoch) }
        do {
            for disk in guest.disks {
                let path = try paths.disk(disk)
                let folder = try paths.diskFolder(on: disk.storage)
                let image = images[disk.name]
                if access(path, F_OK) != 0 {
                    try DiskImages.checkRoom(
                        for: image?.look.actualSize ?? 1 << 20, in: (folder as NSString).deletingLastPathComponent, storage: disk.storage)
                }
                try await host.images.ensure(disk, at: path, from: image)
            }
            try makeVariables(for: guest)
        } catch {
            if isNew { try await removeFiles(of: guest, shared: true) }
            throw error
        }
    }

    /// The firmware's variables, from OVMF's template. A target's are overwritten by QEMU with those of the source: it carries them as memory.
    func makeVariables(for guest: GuestDescription) throws {
        guard guest.firmware == .uefi else { return }
        let path = try paths.nvram(of: guest)
        guard access(path, F_OK) != 0 else { return }
        let template = try host.rules.firmware().variables
        guard let bytes = try DurableFile.read(template) else {
            throw AgentProblem(.failed, .agentError, "\(template) is gone")
        }
        try DurableFile.write(bytes, to: path, as: .nvram)
    }

    /// Has nothing of the guest left here but its record.
    /// - Parameter shared: also what every host sees. That goes only with the server itself.
    func removeFiles(of guest: GuestDescription, shared: Bool = false) async throws {
        let paths = paths
        if guest.tpm != nil {
            try await TPMEmulator.end(paths)
            try tpm.clear()
        }
        // A file system can take long over a large file.
        try await offloaded {
            for storage in Set(guest.disks.map(\.storage)) where shared || !paths.isShared(storage) {
                try DiskImages.removeFolder(try paths.diskFolder(on: storage))
            }
            if guest.disks.isEmpty {
                unlink(try paths.nvram(of: guest))
                if guest.tpm != nil { try DiskImages.removeFolder(try paths.tpm(of: guest)) }
            }
            for path in paths.remains { unlink(path) }
            try DurableFile.syncFolder(of: paths.record)
        }
    }

    func start(_ order: StartOrder) async throws -> GuestReport {
        try await obey(order.epoch) {
            let guest = try requireHome()
            try await requireOwned(guest)
            try refuseWhileLent("start it")
            if host.isMarked(guest, paths) { try host.requireLease() }
            try await ledger.change {
                $0.desired = .running
                $0.adopted?.isFinal = true
            }
            if let process, process.isAlive {
                let state = try await process.monitor.queryStatus()
                try await tpm.settle(guest)
                if ["prelaunch", "paused", "io-error"].contains(state.status) { try await process.monitor.cont() }
            } else {
                let available = HostProbe.availableMemory
                guard guest.memoryBytes <= available else {
                    throw AgentProblem(
                        .failed, .memoryShort,
                        "server \(guest.name) needs \(guest.memoryBytes >> 20) MiB and host \(host.configuration.name) has \(available >> 20) MiB left"
                    )
                }
                let process = try await launch(guest, for: .boot)
                try await process.monitor.cont()
            }
            return try await report()
        }
    }

    func stop(_ order: StopOrder) async throws -> GuestReport {
        try await obey(order.epoch, despiteAll: order.graceMS == 0) {
            _ = try requireHome()
            if isHanging, try await GuestProcess.killLeft(paths) { isHanging = false }
            if let outgoing = record.outgoing, !outgoing.isOver {
                throw AgentProblem(.conflict, .invalidRequest, "a migration takes server \(server) away: cancel it first")
            }
            try await ledger.change { $0.desired = .stopped }
            if let process, process.isAlive {
                if order.graceMS > 0, try await process.monitor.queryStatus().running {
                    try await process.monitor.systemPowerdown()
                    _ = await process.waitForEnd(until: .now.advanced(by: .milliseconds(order.graceMS)))
                }
                try await process.end()
            }
            release()
            return try await report()
        }
    }

    func delete(_ order: DeleteOrder) async throws {
        try await obey(order.epoch) {
            switch record.tenure {
            case .none: return
            case .awaited: throw AgentProblem(.conflict, .invalidRequest, "a migration brings server \(server) here: cancel it first")
            case .handedOver:
                throw AgentProblem(.owned, .invalidRequest, "server \(server) was handed over to another host: it is deleted there")
            case .home: break
            }
            guard process?.isAlive != true else {
                throw AgentProblem(.conflict, .invalidRequest, "server \(server) runs: stop it first")
            }
            if let guest = record.description { try await requireOwned(guest) }
            try refuseWhileLent("delete it")
            await endMigrations()
            try await endLoan()
            if let guest = record.description { try await removeFiles(of: guest, shared: true) }
            try await ledger.change { $0.forget() }
        }
    }

    /// - Throws: ``AgentProblem`` when the guest is not this host's to run.
    func requireHome() throws -> GuestDescription {
        switch record.tenure {
        case .home:
            if let description = record.description { return description }
        case .none:
            if let owner = record.lost?.owner { throw Self.problem(owner) }
        case .awaited: throw AgentProblem(.conflict, .invalidRequest, "server \(server) is on its way here and not this host's to run yet")
        case .handedOver:
            throw AgentProblem(.owned, .invalidRequest, "server \(server) was handed over to another host and shall not run here")
        }
        throw AgentProblem(.notFound, .invalidRequest, "server \(server) is not defined on host \(host.configuration.name)")
    }

    // MARK: QEMU

    /// Starts the guest's QEMU; it stands still.
    func launch(_ guest: GuestDescription, for purpose: CommandLine.Purpose) async throws -> GuestProcess {
        var diskPaths: [String: String] = [:]
        var directDisks: Set<String> = []
        for disk in guest.disks {
            let path = try paths.disk(disk)
            diskPaths[disk.name] = path
            if try await host.owners.answer(of: disk.storage, { DiskImages.takesDirectIO(path) }) { directDisks.insert(disk.name) }
        }
        let around = CommandLine.Surroundings(
            paths: paths, diskPaths: diskPaths, directDisks: directDisks,
            attachments: host.attachments(of: guest), firmwareCode: guest.firmware == .uefi ? try host.rules.firmware().code : nil,
            firmwareVariables: guest.firmware == .uefi ? try paths.nvram(of: guest) : nil)
        if guest.tpm != nil {
            try await TPMEmulator.end(paths)
            try await TPMEmulator.start(
                host.configuration.swtpm, state: try tpm.prepare(for: guest, isIncoming: purpose == .incoming), paths: paths)
        }
        do {
            let gate = try await host.enterGate(guest, paths)
            defer { withExtendedLifetime(gate) {} }
            let process = try await GuestProcess.spawn(
                host.configuration.qemu, CommandLine.arguments(guest, around, for: purpose), paths: paths, logger: logger)
            do {
                try await host.connectTaps(of: guest)
            } catch {
                try await process.end()
                throw error
            }
            adopt(process)
            return process
        } catch {
            // A QEMU that did not come up may never have connected to it.
            if guest.tpm != nil { try await TPMEmulator.end(paths) }
            throw error
        }
    }

    private func adopt(_ process: GuestProcess?) {
        self.process = process
        watch?.cancel()
        guard let process else { return }
        watch = Task { [weak self] in
            await process.monitor.closed()
            guard !Task.isCancelled else { return }
            await self?.monitorClosed(of: process)
        }
    }

    /// QEMU has ended, or its monitor alone is gone: then another connection is made.
    private func monitorClosed(of lost: GuestProcess) async {
        guard lost === process, !isClosed else { return }
        if await lost.waitForEnd(until: .now.advanced(by: .seconds(2))) {
            if lost === process { release() }
            return
        }
        lost.leave()
        while lost === process, !isClosed, lost.isAlive {
            do {
                let found = try await GuestProcess.find(paths, logger: logger)
                guard lost === process, !isClosed else { return }
                await outgoing?.stop()
                await incoming?.stop()
                adopt(found)
                await resumeMigrations(adopted: true)
                return
            } catch {
                logger.warning("QEMU's monitor does not answer", metadata: ["problem": "\(error)"])
                await Bell().wait(after: 0, until: .now.advanced(by: .seconds(1)))
            }
        }
        if lost === process { release() }
    }

    /// Lets go of a QEMU that has ended.
    func release() {
        process?.leave()
        process = nil
        for path in [paths.pid, paths.monitor, paths.rescue] { unlink(path) }
        outgoing?.bell.ring()
        incoming?.bell.ring()
    }

    // MARK: Reports

    func summary() async -> GuestSummary? {
        let record = record
        guard record.tenure != .none else { return nil }
        let wasEnded = !mayHaveGuest && access(paths.ended, F_OK) == 0
        return GuestSummary(
            server: server, status: await status(record), epoch: record.epoch, pid: livingPID, endedByGuard: wasEnded ? true : nil)
    }

    /// What an earlier agent left that this one is not attached to.
    private enum Left {
        case nothing
        case guest(pid: Int32)
        case hidden(AgentProblem)
    }

    private var whatIsLeft: Left {
        guard isHanging else { return .nothing }
        do {
            return try GuestProcess.left(paths).map { .guest(pid: $0) } ?? .nothing
        } catch {
            return .hidden(error)
        }
    }

    /// The pid of its guest, where one is seen.
    var livingPID: Int32? {
        if case .guest(let pid) = whatIsLeft { return pid }
        return process.flatMap { $0.isAlive ? $0.pid : nil }
    }

    /// False only when it is seen that there is none.
    var mayHaveGuest: Bool {
        if case .hidden = whatIsLeft { return true }
        return livingPID != nil
    }

    private func status(_ record: GuestRecord) async -> GuestSummary.Status {
        if record.tenure == .handedOver { return .handedOver }
        guard mayHaveGuest else { return .stopped }
        if record.tenure == .awaited { return .incoming }
        guard let process else { return record.desired == .paused ? .paused : .running }
        do {
            return try await process.monitor.queryStatus(deadline: .seconds(2)).running ? .running : .paused
        } catch {
            // A monitor that hangs tells nothing: then the guest is what it was told to be. One that closed belongs to a guest that is gone.
            return process.isAlive ? (record.desired == .paused ? .paused : .running) : .stopped
        }
    }

    func report() async throws -> GuestReport {
        guard let description = record.description, let summary = await summary() else {
            throw AgentProblem(.notFound, .invalidRequest, "server \(server) is not on host \(host.configuration.name)")
        }
        var medium: Int64?
        if let cdrom = description.cdrom, !cdrom.isEmpty {
            let host = host.configuration.name
            // One that cannot be looked at is told of by whoever needs it.
            medium = try? await offloaded { try Medium.size(of: cdrom, host: host) }
        }
        return GuestReport(
            summary: summary, description: description, consoleLog: paths.console, warnings: record.warnings, cdromBytes: medium)
    }
}
