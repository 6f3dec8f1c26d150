import Foundation
import Testing

/// What a test does to daemons that run on afterwards.
extension NetFleet {
    /// Stops a daemon where it is: it holds its connections and answers nothing. `thaw` has it go on, and so does the end of the test.
    func freeze(_ daemon: String) throws {
        let found = try pids(of: daemon)
        #expect(!found.isEmpty, "no \(daemon) runs")
        for pid in found { kill(pid, SIGSTOP) }
    }

    func thaw(_ daemon: String) throws {
        // nsenter stops itself when what it has started is stopped.
        for process in try Processes.mentioning(marks(of: daemon).word) { kill(process.pid, SIGCONT) }
    }

    /// Has a daemon end in order, so that it gives back what it holds; nothing starts it again by itself.
    func dismiss(_ daemon: String) async throws {
        for pid in try pids(of: daemon) { kill(pid, SIGTERM) }
        try await eventually("\(daemon) is gone", within: .seconds(20)) { try pids(of: daemon).isEmpty }
    }

    /// Has a host come from another fleet, or from this one again, as far as the streams of its migrations go: authority, certificate and key
    /// are others. Its agent has read the old ones long ago; streams are opened with what lies there.
    func disguiseStreams(of host: String, _ isForeign: Bool = true) async throws {
        let authority = isForeign ? "foreign" : "ca"
        if isForeign { try await succeed(programs.appending(path: "godwit").path, "ca-create", path("foreign")) }
        try await certify("agent/\(host)", address: address(of: host), into: "\(host)/tls", by: authority)
        try Data(contentsOf: work.appending(path: "\(authority)/ca.pem")).write(to: work.appending(path: "\(host)/tls/ca.pem"))
        if isForeign { try FileManager.default.removeItem(atPath: path("foreign")) }
    }

    /// Pids of the daemons that lend files on a host, or on all.
    func lenders(on host: String? = nil) throws -> [Int32] {
        try Processes.mentioning(host.map { path("\($0)/state") } ?? work.path)
            .filter { $0.arguments.first?.hasSuffix("qemu-storage-daemon") == true }.map(\.pid)
    }

    /// Writes a file's text over one of the kernel's, for what runs on that host.
    func pretend(_ host: String, _ file: String, _ text: String) async throws {
        let copy = work.appending(path: "\(host)/\(file.replacing("/", with: "_"))")
        try Data(text.utf8).write(to: copy)
        try await inside(host, "mount", "--bind", copy.path, file)
    }

    func pretendNoMore(_ host: String, _ file: String) async throws { try await inside(host, "umount", file) }

    /// Runs a program on a host, which must succeed.
    func inside(_ host: String, _ command: String...) async throws {
        let answer = try await execute(try self.host(host).command() + command)
        guard answer.status == 0 else { throw Failure("\(command.joined(separator: " ")) on \(host): \(answer.error)") }
    }
}
