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
struct DevFleet: Sendable {
    let work: URL
    let programs: URL
    let guest: URL
    let environment: [String: String]

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
        let programs = try FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe").split(separator: "/").dropLast()
        let folder = URL(filePath: "/" + programs.joined(separator: "/"))
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

    // MARK: the command line

    struct Answer: Sendable {
        var status: Int32
        var output: String
        var error: String
    }

    /// Runs `godwit` and returns what it said.
    func godwit(_ arguments: String..., deadline: Duration = .seconds(120)) async throws -> Answer {
        try await godwit(arguments, deadline: deadline)
    }

    func godwit(_ arguments: [String], deadline: Duration = .seconds(120)) async throws -> Answer {
        try await within(deadline, "godwit \(arguments.joined(separator: " "))") {
            let result = try await Subprocess.run(
                .path(FilePath(programs.appending(path: "godwit").path)), arguments: Arguments(arguments),
                environment: .inherit.updating(
                    Dictionary(uniqueKeysWithValues: environment.map { (Environment.Key(stringLiteral: $0.key), $0.value) })),
                input: .none, output: .string(limit: 4 << 20), error: .string(limit: 1 << 20))
            guard case .exited(let code) = result.terminationStatus else {
                throw Failure("godwit \(arguments.joined(separator: " ")) was ended by a signal")
            }
            return Answer(status: code, output: result.standardOutput, error: result.standardError)
        }
    }

    /// Runs `godwit … --output json`, which must succeed, and decodes its answer.
    func decode<T: Decodable & Sendable>(_ type: T.Type, _ arguments: String...) async throws -> T {
        let answer = try await godwit(arguments + ["--output", "json"])
        guard answer.status == 0 else {
            throw Failure("godwit \(arguments.joined(separator: " ")) exited with \(answer.status): \(answer.error)")
        }
        return try JSONDecoder().decode(type, from: Data(answer.output.utf8))
    }

    func hosts() async throws -> [HostView] { try await decode([HostView].self, "host-list") }
    func server(_ name: String) async throws -> ServerView { try await decode(ServerView.self, "server-show", name) }
    func migration(_ id: String) async throws -> MigrationView { try await decode(MigrationView.self, "migration-show", id) }

    /// Submits a live migration and returns it.
    func migrate(_ server: String, _ options: String...) async throws -> MigrationView {
        let answer = try await godwit(["server-live-migrate", server] + options + ["--output", "json"])
        guard answer.status == 0 else { throw Failure("server-live-migrate exited with \(answer.status): \(answer.error)") }
        return try JSONDecoder().decode(MigrationView.self, from: Data(answer.output.utf8))
    }

    /// Waits until the migration is finished and returns it, having checked on the way that QEMU's byte counters never fell back within
    /// an attempt.
    func finish(_ id: String, within limit: Duration = .seconds(180)) async throws -> MigrationView {
        var latest = try await migration(id)
        let deadline = ContinuousClock.now + limit
        while !latest.state.isFinished {
            guard ContinuousClock.now < deadline else {
                throw Failure("migration \(id) is still \(latest.state) after \(limit): \(latest)")
            }
            try await pause(.milliseconds(150))
            let next = try await migration(id)
            if next.attempt == latest.attempt, let before = latest.progress, let now = next.progress {
                #expect(now.diskDoneBytes >= before.diskDoneBytes, "disk bytes fell back")
                #expect(now.memoryTransferredBytes >= before.memoryTransferredBytes, "memory bytes fell back")
            }
            latest = next
        }
        return latest
    }

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

    /// The QEMU processes of a server, by host name.
    func guests(of server: String) throws -> [String: Int32] {
        var found: [String: Int32] = [:]
        for process in try Processes.mentioning(server)
        where process.arguments.first?.contains("qemu-system") == true && process.arguments.contains(where: { $0.contains(work.path) }) {
            for name in ["host1", "host2", "host3"] where process.arguments.contains(where: { $0.contains("/\(name)/") }) {
                found[name] = process.pid
            }
        }
        return found
    }

    /// Files of a server's disks on a host.
    func disks(of server: String, on host: String) throws -> [URL] {
        let folder = state
        guard let files = FileManager.default.enumerator(at: folder, includingPropertiesForKeys: nil) else { return [] }
        return files.compactMap { $0 as? URL }
            .filter { $0.path.contains(host) && $0.path.contains(server) && $0.lastPathComponent.hasPrefix("disk") }
    }
}

/// A test cannot go on.
struct Failure: Error, CustomStringConvertible {
    let description: String
    init(_ description: String) { self.description = description }
}

/// Processes of this machine, by /proc.
struct Processes: CustomStringConvertible {
    let pid: Int32
    let arguments: [String]

    var description: String { "\(pid) \(arguments.prefix(3).joined(separator: " "))" }

    /// All but this one with the text in their command line.
    static func mentioning(_ text: String) throws -> [Processes] {
        try FileManager.default.contentsOfDirectory(atPath: "/proc").compactMap { entry in
            guard let pid = Int32(entry), pid != getpid(),
                // A process may end between the listing and the look.
                let data = FileManager.default.contents(atPath: "/proc/\(pid)/cmdline")
            else { return nil }
            let arguments = data.split(separator: 0).map { String(decoding: $0, as: UTF8.self) }
            return arguments.contains { $0.contains(text) } ? Processes(pid: pid, arguments: arguments) : nil
        }
    }
}

/// Lets a bounded time pass between two looks at a condition.
func pause(_ duration: Duration) async throws {
    try await Task.sleep(for: duration)
}

/// Returns as soon as the condition holds; fails the test when it does not in time.
func eventually(_ what: String, within limit: Duration, _ condition: () async throws -> Bool) async throws {
    let deadline = ContinuousClock.now + limit
    while true {
        if try await condition() { return }
        guard ContinuousClock.now < deadline else { throw Failure("not within \(limit): \(what)") }
        try await pause(.milliseconds(50))
    }
}

/// Runs an operation with a deadline.
func within<T: Sendable>(_ limit: Duration, _ what: String, _ operation: @escaping @Sendable () async throws -> T) async throws -> T {
    try await withThrowingTaskGroup(of: T.self) { group in
        group.addTask(operation: operation)
        group.addTask {
            try await Task.sleep(for: limit)
            throw Failure("not within \(limit): \(what)")
        }
        defer { group.cancelAll() }
        guard let first = try await group.next() else { throw Failure(what) }
        return first
    }
}
