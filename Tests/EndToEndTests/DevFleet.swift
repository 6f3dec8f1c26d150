import Client
import Fleet
import Foundation
import Subprocess
import Testing

#if canImport(System)
    import System
#else
    import SystemPackage
#endif

/// A fleet of `godwit dev` in a folder of its own, used as a person would: through the command line.
struct DevFleet: TestFleet {
    let work: URL
    let programs: URL
    let guest: URL
    let environment: [String: String]
    let commandPrefix: [String] = []
    let guestNetwork = "default"

    var state: URL { work.appending(path: "state") }

    /// Starts `godwit dev`, waits until its hosts are healthy, runs the body, ends it all and checks that nothing stayed behind.
    static func run<T: Sendable>(hosts: Int = 2, _ body: @Sendable (DevFleet) async throws -> T) async throws -> T {
        let work = URL(filePath: "/tmp/godwit-e2e-\(UUID().uuidString.prefix(8).lowercased())")
        try FileManager.default.createDirectory(at: work, withIntermediateDirectories: true)
        do {
            let result = try await start(hosts: hosts, work: work, body)
            try FileManager.default.removeItem(at: work)
            return result
        } catch {
            // What the processes said is the only witness of what went wrong.
            for log in try logs(in: work) {
                let text = String(decoding: try Data(contentsOf: log).suffix(6000), as: UTF8.self)
                print("---- \(log.lastPathComponent)\n\(text)")
            }
            try FileManager.default.removeItem(at: work)
            throw error
        }
    }

    /// One life of `godwit dev` on a folder that may have seen others.
    static func start<T: Sendable>(
        hosts: Int = 2, work: URL, options: [String] = [], expectLeftovers: Bool = false, _ body: @Sendable (DevFleet) async throws -> T
    ) async throws -> T {
        let folder = try programFolder()
        let output = FilePath(work.appending(path: "dev.out").path)
        let descriptor = try FileDescriptor.open(
            output, .writeOnly, options: [.create, .append], permissions: [.ownerReadWrite])
        let environmentFile = work.appending(path: "state/env")
        if FileManager.default.fileExists(atPath: environmentFile.path) { try FileManager.default.removeItem(at: environmentFile) }

        let result = try await Subprocess.run(
            .path(FilePath(folder.appending(path: "godwit").path)),
            arguments: Arguments(["dev", "--hosts", String(hosts), "--state", work.appending(path: "state").path] + options),
            input: .none,
            output: .fileDescriptor(descriptor, closeAfterSpawningProcess: true), error: .combinedWithOutput
        ) { execution in
            do {
                try await eventually("godwit dev wrote its environment", within: .seconds(60)) {
                    FileManager.default.fileExists(atPath: environmentFile.path)
                }
                let fleet = DevFleet(
                    work: work, programs: folder, guest: try TestGuest.folder(), environment: try variables(in: environmentFile))
                try await eventually("\(hosts) hosts online", within: .seconds(60)) {
                    try await fleet.hosts().filter { $0.status == .online }.count == hosts
                }
                let value = try await body(fleet)
                try execution.send(signal: .terminate)
                return value
            } catch {
                try execution.send(signal: .terminate)
                throw error
            }
        }
        let value = result.closureResult
        #expect(result.terminationStatus == .exited(0), "godwit dev ends cleanly")
        if !expectLeftovers {
            let left = try Processes.mentioning(work.path)
            #expect(left.isEmpty, "processes left behind: \(left)")
        }
        return value
    }

    private static func logs(in work: URL) throws -> [URL] {
        let folder = work.appending(path: "state/log")
        let logs =
            FileManager.default.fileExists(atPath: folder.path)
            ? try FileManager.default.contentsOfDirectory(at: folder, includingPropertiesForKeys: nil) : []
        return [work.appending(path: "dev.out")] + logs
    }

    private static func variables(in file: URL) throws -> [String: String] {
        var variables: [String: String] = [:]
        for word in try String(contentsOf: file, encoding: .utf8).split(whereSeparator: \.isWhitespace) {
            guard let equals = word.firstIndex(of: "=") else { continue }
            let value = word[word.index(after: equals)...].trimmingCharacters(in: CharacterSet(charactersIn: "'\""))
            variables[String(word[..<equals])] = value
        }
        return variables
    }

    func networkParameters(of recipe: GuestRecipe) -> String { recipe.beatPort.map { " godwit.beat=10.0.2.2:\($0)" } ?? "" }

    // MARK: its processes

    /// Pids of this fleet's processes of a program (`godwit-worker`), for an agent also by host name.
    func pids(of program: String, host: String? = nil) throws -> [Int32] {
        try Processes.mentioning(work.path)
            .filter { $0.arguments.first.map { $0 == program || $0.hasSuffix("/" + program) } ?? false }
            .filter { process in host.map { name in process.arguments.contains { $0.contains(name) } } ?? true }
            .map(\.pid)
    }

    /// `kill -9` of a program; returns once its successor, started by `godwit dev`, is another process.
    func kill(_ program: String, host: String? = nil) async throws {
        let victims = try pids(of: program, host: host)
        #expect(!victims.isEmpty, "no \(program) runs")
        for pid in victims { _ = Foundation.kill(pid, SIGKILL) }
        try await eventually("\(program) is started again", within: .seconds(30)) {
            let now = try pids(of: program, host: host)
            return !now.isEmpty && now.allSatisfy { !victims.contains($0) }
        }
    }

    /// Files of a server's disks on a host.
    func disks(of server: String, on host: String) throws -> [URL] {
        let folder = state
        guard let files = FileManager.default.enumerator(at: folder, includingPropertiesForKeys: nil) else { return [] }
        return files.compactMap { $0 as? URL }
            .filter { $0.path.contains(host) && $0.path.contains(server) && $0.lastPathComponent.hasPrefix("disk") }
    }
}
