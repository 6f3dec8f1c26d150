import Client
import Fleet
import Foundation
import Testing

/// A fleet of real processes on this machine, used as a person would: through the command line.
protocol TestFleet: Sendable {
    /// Everything of it lies in here, and every process of it names this path.
    var work: URL { get }
    var programs: URL { get }
    /// The test guest's kernel and initrd.
    var guest: URL { get }
    /// What points the command line at this fleet.
    var environment: [String: String] { get }
    /// What `godwit` is run through.
    var commandPrefix: [String] { get }
    /// The network that test guests are attached to.
    var guestNetwork: String { get }
    /// The guest's parameters for that network, each after a space.
    func networkParameters(of recipe: GuestRecipe) -> String
    /// Files of a server's disks on a host.
    func disks(of server: String, on host: String) throws -> [URL]
}

extension TestFleet {
    /// The folder of the programs that were built with this one.
    static func programFolder() throws -> URL {
        URL(filePath: try FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")).deletingLastPathComponent()
    }

    /// Runs `godwit` and returns what it said.
    func godwit(_ arguments: String..., deadline: Duration = .seconds(120)) async throws -> Answer {
        try await godwit(arguments, deadline: deadline)
    }

    func godwit(_ arguments: [String], deadline: Duration = .seconds(120)) async throws -> Answer {
        try await execute(
            commandPrefix + [programs.appending(path: "godwit").path] + arguments, environment: environment, deadline: deadline)
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
    func migrate(_ server: String, _ options: String...) async throws -> MigrationView { try await migrate(server, options) }

    func migrate(_ server: String, _ options: [String]) async throws -> MigrationView {
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
}
