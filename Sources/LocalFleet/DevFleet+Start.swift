import Client
import Fleet
import Foundation
import Glibc
import Identity
import Output

/// What a fleet starts from.
extension DevFleet {
    /// How long hosts may take to be seen online before that is told.
    private static let assemblyDeadline = Duration.seconds(20)

    func processes(
        _ files: DevFiles, _ ports: [String: Int], report: @escaping @Sendable (DevProcess, DevProcess.Event) async -> Void
    ) throws -> [DevProcess] {
        let (layout, accelerator) = (layout, accelerator)
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
            // The guard reads it too, and may be there before the agent.
            try files.configureAgent(host, port: ports[host.name] ?? 0, accelerator: accelerator, credential: credential)
            processes.append(
                try make(host.name, "godwit-agent", listens: true) { port in
                    try files.configureAgent(host, port: port, accelerator: accelerator, credential: credential)
                    return ["--config", host.configuration]
                })
            processes.append(
                try make("guard\(number)", "godwit-guard", listens: false) { _ in ["--config", host.configuration] })
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
        for program in ["godwit-controller", "godwit-worker", "godwit-agent", "godwit-guard"]
        where access("\(folder)/\(program)", X_OK) != 0 {
            throw CommandFailure.failed("\(folder)/\(program) is missing; build the whole package (swift build) and try again.")
        }
        return folder
    }

    /// Ends daemons that outlived a supervisor's sudden end.
    func endLeftovers() async {
        // A list that cannot be read ends nobody: an agent or a guard that is left holds its lock, and its successor says so.
        guard let data = FileManager.default.contents(atPath: layout.processes),
            let left = try? JSONDecoder().decode([String: ProcessTable.Identity].self, from: data)
        else { return }
        _ = await ProcessTable.end(left.values.filter { ProcessTable.identity($0.pid) == $0 }, grace: .zero)
    }

    /// Tells the controller where the hosts are and waits until it sees them.
    ///
    /// - Returns: the hosts that it did not see in time.
    func assemble(_ url: String, _ agents: [String: String], _ token: String, _ files: DevFiles) async throws -> [String] {
        let deadline = ContinuousClock.now + Self.assemblyDeadline
        return try await GodwitClient.with(url: url, token: token, caFile: files.authorityCertificate) { client in
            while true {
                do {
                    for (name, address) in agents.sorted(by: { $0.key < $1.key }) {
                        _ = try await client.registerHost(RegisterHostRequest(name: name, agentURL: address))
                    }
                    break
                } catch let error as ClientError where error.code == .unreachable && ContinuousClock.now < deadline {
                    // It is being started again.
                    try await Task.sleep(for: .milliseconds(200))
                }
            }
            while true {
                let online = Set(try await client.hosts().items.filter { $0.status == .online }.map(\.name))
                let missing = agents.keys.filter { !online.contains($0) }.sorted()
                if missing.isEmpty || ContinuousClock.now >= deadline { return missing }
                try await Task.sleep(for: .milliseconds(50))
            }
        }
    }
}
