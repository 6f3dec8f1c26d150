import Client
package import Fleet
import Foundation
import Glibc
import Identity
import Output
import UnixSignals

/// A whole fleet on this machine: its daemons started, watched, and ended in order.
package struct DevFleet: Sendable {
    let layout: DevLayout
    let hosts: Int
    let workers: Int
    let accelerator: Accelerator
    let keepGuests: Bool

    package init(layout: DevLayout, hosts: Int, workers: Int, accelerator: Accelerator, keepGuests: Bool) {
        self.layout = layout
        self.hosts = hosts
        self.workers = workers
        self.accelerator = accelerator
        self.keepGuests = keepGuests
    }

    private enum Event: Sendable {
        case process(DevProcess, DevProcess.Event)
        case signal
        /// Hosts are registered; those that were not online in time.
        case assembled(missing: [String])
        case assemblyFailed(String)
        case ended
    }

    /// Daemons can be killed at any time without harm; what they get is time to be tidy.
    private static let daemonGrace = Duration.seconds(2)
    /// What a guest's QEMU gets to write its disks' last blocks.
    private static let guestGrace = Duration.seconds(5)

    /// Runs until a signal ends it.
    ///
    /// - Throws: ``CommandFailure`` when it could not be started.
    package func run() async throws {
        try DevFiles.makeFolder(layout.state)
        let lock = try DevLock(layout.lock)
        defer { withExtendedLifetime(lock) {} }
        // A reader of what is printed may go away; the fleet goes on.
        signal(SIGPIPE, SIG_IGN)
        let signals = await UnixSignalsSequence(trapping: Self.hangupIsIgnored ? [.sigint, .sigterm] : [.sigint, .sigterm, .sighup])
        withdrawEnvironment()
        await endLeftovers()

        var settings = try DevSettings.load(layout.settings) ?? DevSettings(hosts: hosts, runDirectory: layout.runDirectory, ports: [:])
        settings.hosts = hosts
        let files = DevFiles(layout: layout)
        for folder in [layout.certificates, layout.logs, layout.hosts, layout.shared] { try DevFiles.makeFolder(folder) }
        try DevFiles.makeRunDirectory(layout.runDirectory)
        let token = try files.token()

        let (events, sink) = AsyncStream.makeStream(of: Event.self)
        let processes = try processes(files, settings.ports) { process, event in sink.yield(.process(process, event)) }

        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { for await _ in signals { sink.yield(.signal) } }
            for process in processes { group.addTask { await process.supervise() } }
            var state = Running(settings: settings, processes: processes, token: token)
            for await event in events {
                do {
                    try handle(event, &state, in: &group, files, sink)
                } catch {
                    // Without its files the fleet could not be found again.
                    fail("\(error)", &state, in: &group, sink)
                }
            }
            group.cancelAll()
            // Guests that run on are reached by their sockets there.
            if DevGuests(layout: layout).running().isEmpty { try FileManager.default.removeItem(atPath: layout.runDirectory) }
            if let failure = state.failure { throw CommandFailure.failed(failure) }
        }
    }

    private typealias Tasks = ThrowingTaskGroup<Void, any Error>

    private func handle(
        _ event: Event, _ state: inout Running, in group: inout Tasks, _ files: DevFiles, _ sink: AsyncStream<Event>.Continuation
    ) throws {
        switch event {
        case .process(let process, .running(let identity, let address, let previousEnd)):
            if let previousEnd { say("\(process.name) \(previousEnd), started again as pid \(identity.pid)") }
            let moved = state.started(process.name, identity, address)
            try save(state)
            guard state.isComplete && !state.isAssembled || state.isAssembled && moved else { return }
            state.isAssembled = true
            let (url, agents, token) = (state.url, state.agents, state.token)
            group.addTask {
                do {
                    sink.yield(.assembled(missing: try await assemble(url, agents, token, files)))
                } catch {
                    sink.yield(.assemblyFailed("\(error)"))
                }
            }
        case .process(let process, .failed(let how, let lines, let everRan)):
            let log = "The end of \(layout.log(of: process.name)):\(lines.map { "\n    \($0)" }.joined())"
            if everRan {
                say("\(process.name) \(how) and did not come up again; trying on. \(log)")
            } else {
                fail("\(process.name) \(how) at its start. \(log)", &state, in: &group, sink)
            }
        case .assembled(let missing):
            try announce(&state, files, missing)
        case .assemblyFailed(let why):
            if state.isAnnounced {
                say("Hosts could not be registered again: \(why)")
            } else {
                fail("Hosts could not be registered: \(why)", &state, in: &group, sink)
            }
        case .signal where state.isEnding:
            say("Again: killing what is left.")
            let processes = state.processes
            group.addTask { for process in processes { await process.stop(grace: .zero) } }
        case .signal:
            say(keepGuests ? "Ending; guests run on." : "Ending, guests too.")
            end(&state, in: &group, sink)
        case .ended:
            sink.finish()
        }
    }

    /// Ends all for a reason, the first one being the one that counts.
    private func fail(_ why: String, _ state: inout Running, in group: inout Tasks, _ sink: AsyncStream<Event>.Continuation) {
        guard state.failure == nil, !state.isEnding else { return }
        state.failure = why
        end(&state, in: &group, sink)
    }

    // MARK: what is kept

    private func save(_ state: Running) throws {
        try state.settings.save(layout.settings)
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.prettyPrinted, .sortedKeys]
        try DurableFile.write(String(decoding: try encoder.encode(state.identities), as: UTF8.self), to: layout.processes, mode: 0o600)
    }

    // MARK: what is said

    private func announce(_ state: inout Running, _ files: DevFiles, _ missing: [String]) throws {
        guard !state.isEnding else { return }
        for host in missing { say("\(host) is not online yet; see \(layout.log(of: host)).") }
        if state.announcedURL == state.url { return }
        state.announcedURL = state.url
        let line = DevFiles.exportLine(url: state.url, token: state.token, authority: files.authorityCertificate)
        // Its presence tells that the fleet is ready for use.
        try DurableFile.write(line + "\n", to: layout.environment, mode: 0o600)
        let hosts = state.processes.filter { $0.name.hasPrefix("host") }
        let rows = (state.processes.filter { !$0.name.hasPrefix("host") } + hosts).map { process -> [String?] in
            [process.name, state.identities[process.name].map { String($0.pid) }, state.addresses[process.name]]
        }
        say(Table(["Process", "Pid", "Address"], rows: rows).text, terminator: "")
        say(
            """
            State: \(layout.state)

            To use it, paste this into another shell, or run `. \(DevFiles.shellWord(layout.environment))` there:

            \(line)

            Then for example: \(DevFiles.shellWord(Self.ownName)) host-list
            \(keepGuests ? "Ctrl-C ends all of this; guests run on." : "Ctrl-C ends all of this, guests too.")
            """)
    }

    /// How it was called, so that it can be called so again from another folder.
    private static var ownName: String {
        let name = CommandLine.arguments.first ?? "godwit"
        return name.contains("/") ? URL(fileURLWithPath: name).standardizedFileURL.path : name
    }

    private func say(_ text: String, terminator: String = "\n") {
        Terminal.output.write(text + terminator)
    }

    // MARK: end

    private func end(_ state: inout Running, in group: inout Tasks, _ sink: AsyncStream<Event>.Continuation) {
        state.isEnding = true
        withdrawEnvironment()
        let (processes, url, token) = (state.processes, state.url, state.token)
        let assembled = state.isAnnounced
        // Guests of an earlier run are not to die of a start that failed.
        let keepGuests = keepGuests || state.failure != nil
        group.addTask {
            await shutDown(processes, url: assembled ? url : nil, token: token, keepGuests: keepGuests)
            sink.yield(.ended)
        }
    }

    /// Workers first, so that nothing is begun any more; then guests, while the controller can still write down that they are off; then
    /// the rest, and at last what nobody has ended.
    private func shutDown(_ processes: [DevProcess], url: String?, token: String, keepGuests: Bool) async {
        await stop(processes.filter { $0.name.hasPrefix("worker") })
        if !keepGuests, let url {
            await withTaskGroup(of: Void.self) { group in
                group.addTask {
                    do {
                        let troubles = try await GodwitClient.with(
                            url: url, token: token, caFile: DevFiles(layout: layout).authorityCertificate, DevGuests.powerOff)
                        for trouble in troubles { say("Not marked as off: \(trouble)") }
                    } catch {
                        say("Servers are not marked as off: \(error)")
                    }
                }
                group.addTask { try? await Task.sleep(for: Self.guestGrace) }
                await group.next()
                group.cancelAll()
            }
        }
        // An agent that nobody is connected to any more ends at once.
        await stop(processes.filter { $0.name == "controller" })
        await stop(processes)
        if !keepGuests {
            for guest in await ProcessTable.end(DevGuests(layout: layout).running(), grace: Self.guestGrace) {
                say("QEMU with pid \(guest.pid) does not end.")
            }
        }
    }

    /// The variables are of no use while the fleet does not run.
    private func withdrawEnvironment() { unlink(layout.environment) }

    private func stop(_ processes: [DevProcess]) async {
        await withTaskGroup(of: Void.self) { group in
            for process in processes { group.addTask { await process.stop(grace: Self.daemonGrace) } }
        }
    }

    /// Whether whoever started this asked that it outlive its terminal (nohup(1)).
    private static var hangupIsIgnored: Bool {
        var action = sigaction()
        guard sigaction(SIGHUP, nil, &action) == 0 else { return false }
        return unsafeBitCast(action.__sigaction_handler.sa_handler, to: Int.self) == 1
    }

    /// What is known of the fleet while it runs.
    private struct Running {
        var settings: DevSettings
        let processes: [DevProcess]
        let token: String
        var identities: [String: ProcessTable.Identity] = [:]
        var addresses: [String: String] = [:]
        /// Hosts have been, or are being, registered.
        var isAssembled = false
        var announcedURL: String?
        var isEnding = false
        var failure: String?

        var url: String { addresses["controller"] ?? "" }
        var agents: [String: String] { addresses.filter { $0.key != "controller" } }
        var isComplete: Bool { identities.count == processes.count }
        var isAnnounced: Bool { announcedURL != nil }

        /// - Returns: whether its address is another than before.
        mutating func started(_ name: String, _ identity: ProcessTable.Identity, _ address: String?) -> Bool {
            identities[name] = identity
            guard let address, addresses[name] != address else { return false }
            addresses[name] = address
            settings.ports[name] = address.split(separator: ":").last.flatMap { Int($0) }
            return true
        }
    }
}
