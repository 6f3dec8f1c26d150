import Client
import Foundation
import Glibc
import Identity
import UnixSignals

/// A whole fleet on this machine: its daemons started, watched, and ended in order.
struct DevFleet: Sendable {
    let layout: DevLayout
    let hosts: Int
    let workers: Int
    let keepGuests: Bool

    private enum Event: Sendable {
        case process(DevProcess, DevProcess.Event)
        case signal
        /// Hosts are registered; those that were not online in time.
        case assembled(missing: [String])
        case assemblyFailed(String)
        case ended
    }

    /// How long hosts may take to be seen online before that is told.
    private static let assemblyDeadline = Duration.seconds(20)
    private static let grace = Duration.seconds(5)

    /// Runs until a signal ends it.
    ///
    /// - Throws: ``CommandFailure`` when it could not be started.
    func run() async throws {
        try DevFiles.makeFolder(layout.state)
        let lock = try DevLock(layout.lock)
        defer { withExtendedLifetime(lock) {} }
        // A reader of what is printed may go away; the fleet goes on.
        signal(SIGPIPE, SIG_IGN)
        let signals = await UnixSignalsSequence(trapping: Self.hangupIsIgnored ? [.sigint, .sigterm] : [.sigint, .sigterm, .sighup])
        await endLeftovers()

        var settings = try DevSettings.load(layout.settings) ?? DevSettings(hosts: hosts, runDirectory: layout.runDirectory, ports: [:])
        settings.hosts = hosts
        let files = DevFiles(layout: layout)
        for folder in [layout.certificates, layout.logs, layout.hosts] { try DevFiles.makeFolder(folder) }
        try DevFiles.makeRunDirectory(layout.runDirectory)
        let token = try files.token()

        let (events, sink) = AsyncStream.makeStream(of: Event.self)
        let processes = try processes(files, settings.ports) { process, event in sink.yield(.process(process, event)) }

        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { for await _ in signals { sink.yield(.signal) } }
            for process in processes { group.addTask { await process.supervise() } }
            var state = Running(settings: settings, processes: processes, token: token)
            for await event in events {
                switch event {
                case .process(let process, .running(let identity, let address, let previousEnd)):
                    if let previousEnd { say("\(process.name) \(previousEnd), started again as pid \(identity.pid)") }
                    let moved = state.started(process.name, identity, address)
                    try save(state)
                    if state.isComplete && !state.isAssembled || state.isAssembled && moved {
                        state.isAssembled = true
                        let (url, agents, token, files) = (state.url, state.agents, token, files)
                        group.addTask {
                            do {
                                sink.yield(.assembled(missing: try await assemble(url, agents, token, files)))
                            } catch {
                                sink.yield(.assemblyFailed("\(error)"))
                            }
                        }
                    }
                case .process(let process, .failed(let how, let log, let everRan)):
                    let lines = log.map { "\n    \($0)" }.joined()
                    if everRan {
                        say(
                            "\(process.name) \(how) and did not come up again; trying on. The end of \(layout.log(of: process.name)):\(lines)"
                        )
                    } else if state.failure == nil, !state.isEnding {
                        state.failure = "\(process.name) \(how) at its start. The end of \(layout.log(of: process.name)):\(lines)"
                        end(&state, in: &group, sink)
                    }
                case .assembled(let missing):
                    announce(&state, files, missing)
                case .assemblyFailed(let why):
                    if state.isAnnounced {
                        say("Hosts could not be registered again: \(why)")
                    } else if state.failure == nil, !state.isEnding {
                        state.failure = "Hosts could not be registered: \(why)"
                        end(&state, in: &group, sink)
                    }
                case .signal:
                    if state.isEnding {
                        say("Again: killing what is left.")
                        group.addTask {
                            for process in processes { await process.stop(grace: .zero) }
                        }
                    } else {
                        say(keepGuests ? "Ending; guests run on." : "Ending, guests too.")
                        end(&state, in: &group, sink)
                    }
                case .ended:
                    sink.finish()
                }
            }
            group.cancelAll()
            // Guests that run on are reached by their sockets there.
            if DevGuests(layout: layout).running().isEmpty { try FileManager.default.removeItem(atPath: layout.runDirectory) }
            if let failure = state.failure { throw CommandFailure.failed(failure) }
        }
    }

    // MARK: start

    private func processes(
        _ files: DevFiles, _ ports: [String: Int], report: @escaping @Sendable (DevProcess, DevProcess.Event) async -> Void
    ) throws -> [DevProcess] {
        let layout = layout
        let authority = try files.authority()
        let programs = try Self.programs()
        let ca = files.authorityCertificate
        func make(
            _ name: String, _ program: String, listens: Bool, _ prepare: @escaping @Sendable (Int) throws -> [String]
        ) throws -> DevProcess {
            let log = LogFile(path: layout.log(of: name))
            try log.rotate()
            return DevProcess(
                name: name, program: "\(programs)/\(program)", port: listens ? ports[name] ?? 0 : nil, log: log, prepare: prepare,
                report: report)
        }
        var processes: [DevProcess] = []
        for number in 1...hosts {
            let host = layout.host(number)
            for folder in [host.folder, host.stateDirectory, host.runDirectory, host.storage] { try DevFiles.makeFolder(folder) }
            let credential = try files.issue("agent", host.name, by: authority)
            processes.append(
                try make(host.name, "godwit-agent", listens: true) { port in
                    try files.configureAgent(host, port: port, credential: credential)
                    return ["--config", host.configuration]
                })
        }
        let controller = try files.issue("controller", "c1", by: authority)
        processes.append(
            try make("controller", "godwit-controller", listens: true) { port in
                [
                    "--store", layout.store, "--listen", "127.0.0.1:\(port)", "--tls-cert", controller.certificate, "--tls-key",
                    controller.key, "--ca", ca, "--cert", controller.certificate, "--key", controller.key, "--token-file", layout.token,
                    "--name", "c1",
                ]
            })
        for number in 1...workers {
            let credential = try files.issue("worker", "w\(number)", by: authority)
            processes.append(
                try make(workers == 1 ? "worker" : "worker\(number)", "godwit-worker", listens: false) { _ in
                    [
                        "--store", layout.store, "--name", "w\(number)", "--ca", ca, "--cert", credential.certificate, "--key",
                        credential.key,
                    ]
                })
        }
        return processes
    }

    /// The folder of this program, where the daemons lie beside it.
    private static func programs() throws -> String {
        let own = try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")
        guard let own else { throw CommandFailure.failed("Cannot tell where this program lies, for /proc is not mounted.") }
        let folder = URL(fileURLWithPath: own).deletingLastPathComponent().path
        for program in ["godwit-controller", "godwit-worker", "godwit-agent"] where access("\(folder)/\(program)", X_OK) != 0 {
            throw CommandFailure.failed("\(folder)/\(program) is missing; build the whole package (swift build) and try again.")
        }
        return folder
    }

    /// Ends daemons that outlived a supervisor's sudden end.
    private func endLeftovers() async {
        guard let data = FileManager.default.contents(atPath: layout.processes),
            let left = try? JSONDecoder().decode([String: ProcessTable.Identity].self, from: data)
        else { return }
        _ = await ProcessTable.end(left.values.filter { ProcessTable.identity($0.pid) == $0 }, grace: .zero)
    }

    /// Tells the controller where the hosts are and waits until it sees them.
    ///
    /// - Returns: the hosts that it did not see in time.
    private func assemble(_ url: String, _ agents: [String: String], _ token: String, _ files: DevFiles) async throws -> [String] {
        try await GodwitClient.with(url: url, token: token, caFile: files.authorityCertificate) { client in
            for (name, address) in agents.sorted(by: { $0.key < $1.key }) {
                _ = try await client.registerHost(RegisterHostRequest(name: name, agentURL: address))
            }
            let deadline = ContinuousClock.now + Self.assemblyDeadline
            while true {
                let online = Set(try await client.hosts().items.filter { $0.status == .online }.map(\.name))
                let missing = agents.keys.filter { !online.contains($0) }.sorted()
                if missing.isEmpty || ContinuousClock.now >= deadline { return missing }
                try await Task.sleep(for: .milliseconds(50))
            }
        }
    }

    private func save(_ state: Running) throws {
        try state.settings.save(layout.settings)
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.prettyPrinted, .sortedKeys]
        try DurableFile.write(String(decoding: try encoder.encode(state.identities), as: UTF8.self), to: layout.processes, mode: 0o600)
        if !state.url.isEmpty {
            let line = DevFiles.exportLine(
                url: state.url, token: state.token, authority: DevFiles(layout: layout).authorityCertificate)
            try DurableFile.write(line + "\n", to: layout.environment, mode: 0o600)
        }
    }

    // MARK: what is said

    private func announce(_ state: inout Running, _ files: DevFiles, _ missing: [String]) {
        guard !state.isEnding else { return }
        for host in missing { say("\(host) is not online yet; see \(layout.log(of: host)).") }
        if state.announcedURL == state.url { return }
        state.announcedURL = state.url
        let hosts = state.processes.filter { $0.name.hasPrefix("host") }
        let rows = (state.processes.filter { !$0.name.hasPrefix("host") } + hosts).map { process -> [String?] in
            [process.name, state.identities[process.name].map { String($0.pid) }, state.addresses[process.name]]
        }
        say(Table(["Process", "Pid", "Address"], rows: rows).text, terminator: "")
        say(
            """
            State: \(layout.state)

            To use it, paste this into another shell, or run `. \(DevFiles.shellWord(layout.environment))` there:

            \(DevFiles.exportLine(url: state.url, token: state.token, authority: files.authorityCertificate))

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

    private func end(_ state: inout Running, in group: inout ThrowingTaskGroup<Void, any Error>, _ sink: AsyncStream<Event>.Continuation) {
        state.isEnding = true
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
                        try await GodwitClient.with(
                            url: url, token: token, caFile: DevFiles(layout: layout).authorityCertificate, DevGuests.powerOff)
                    } catch {
                        say("Servers are not marked as off: \(error)")
                    }
                }
                group.addTask { try? await Task.sleep(for: Self.grace) }
                await group.next()
                group.cancelAll()
            }
        }
        await stop(processes.filter { !$0.name.hasPrefix("worker") })
        if !keepGuests {
            for guest in await ProcessTable.end(DevGuests(layout: layout).running(), grace: Self.grace) {
                say("QEMU with pid \(guest.pid) does not end.")
            }
        }
    }

    private func stop(_ processes: [DevProcess]) async {
        await withTaskGroup(of: Void.self) { group in
            for process in processes { group.addTask { await process.stop(grace: Self.grace) } }
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
