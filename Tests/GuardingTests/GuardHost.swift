import Fleet
import Foundation
import Glibc
import Guarding
import Synchronization

@testable import Hypervisor

/// Folders of a host for a guard, and processes that end with the test.
final class GuardHost: Sendable {
    let folder: String
    let configuration: String
    let files: GuardFiles
    private let hostPaths: HostPaths
    private let spawned = Mutex<[Child]>([])

    static var program: String {
        get throws {
            let own = try FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")
            return URL(filePath: own).deletingLastPathComponent().appending(path: "godwit-guard").path
        }
    }

    static func with(watchdog: String? = nil, _ body: (GuardHost) async throws -> Void) async throws {
        let folder = "/tmp/gwg-\(UInt32.random(in: .min ... .max))"
        let host = try GuardHost(folder, watchdog: watchdog)
        defer { try? FileManager.default.removeItem(atPath: folder) }
        do {
            try await body(host)
        } catch {
            try await host.end()
            throw error
        }
        try await host.end()
    }

    private init(_ folder: String, watchdog: String?) throws {
        self.folder = folder
        configuration = "\(folder)/agent.yaml"
        let tls = AgentConfiguration.TLSFiles(authority: "/none", certificate: "/none", key: "/none")
        hostPaths = HostPaths(
            AgentConfiguration(
                name: "h", listen: .init(address: "127.0.0.1", port: 0), stateDirectory: "\(folder)/state", runDirectory: "\(folder)/run",
                storages: [], tls: tls))
        files = GuardFiles(hostPaths)
        for name in ["state", "run"] {
            try FileManager.default.createDirectory(atPath: "\(folder)/\(name)", withIntermediateDirectories: true)
        }
        let text = """
            name: h
            listen: 127.0.0.1:0
            stateDirectory: \(folder)/state
            runDirectory: \(folder)/run
            storages: []
            tls: {authority: /none, certificate: /none, key: /none}
            \(watchdog.map { "watchdog: \($0)" } ?? "")

            """
        try Data(text.utf8).write(to: URL(filePath: configuration))
    }

    func paths(_ server: String) -> GuestPaths { hostPaths.of(ServerID(server)) }

    func spawn(_ program: String, _ arguments: [String]) throws -> Child {
        let child = try Child(program, arguments)
        spawned.withLock { $0.append(child) }
        return child
    }

    @discardableResult
    func startGuard() async throws -> Child {
        let process = try spawn(Self.program, ["--config", configuration])
        try await eventually("the guard is up") { ask() != nil }
        return process
    }

    /// A process that has a guest's words on its command line.
    func guest(_ server: String, isMarked: Bool = true) async throws -> Child {
        let paths = paths(server)
        try FileManager.default.createDirectory(atPath: paths.folder, withIntermediateDirectories: true)
        try Data().write(to: URL(filePath: paths.pid))
        try GuestMark.set(isMarked, paths)
        let child = try spawn("tail", ["-f", paths.pid])
        // posix_spawn returns a moment before the kernel shows the new program's arguments.
        try await eventually("its command line is shown") { !KernelProcess.all(naming: [paths.pid]).found.isEmpty }
        return child
    }

    /// Nil while none answers.
    func ask() -> GuardReport? { try? GuardLink.ask(files.socket, nil) }

    func order(_ number: Int64, until: Int64?) throws -> GuardReport? {
        try GuardLink.ask(files.socket, GuardOrder(number: number, bootID: try BootClock.now().bootID, untilMS: until))
    }

    private func end() async throws {
        let all = spawned.withLock { $0 }
        for child in all where child.isRunning { kill(child.processIdentifier, SIGKILL) }
        try await eventually("all that was started has ended") { all.allSatisfy { !$0.isRunning } }
    }
}
