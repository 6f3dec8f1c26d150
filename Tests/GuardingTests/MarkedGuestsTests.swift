import AgentAPI
import Fleet
import Foundation
import Testing

@testable import Guarding
@testable import Hypervisor

@Suite struct MarkedGuestsTests {
    @Test func `a mark that cannot be read keeps the guard from saying that no guest is left`() async throws {
        try await GuardHost.with { host in
            #expect(try MarkedGuests.end(host.files, withinMS: 100).areGone)
            let mark = "\(host.files.run)/torn\(GuestPaths.markSuffix)"
            try Data("{".utf8).write(to: URL(fileURLWithPath: mark))
            #expect(throws: (any Error).self) { try MarkedGuests.end(host.files, withinMS: 100) }
            try FileManager.default.removeItem(atPath: mark)
            #expect(try MarkedGuests.end(host.files, withinMS: 100).areGone)
        }
    }

    /// Shows a process as proc(5) does.
    private func make(_ pid: Int, _ arguments: String?, in proc: String) throws {
        try FileManager.default.createDirectory(atPath: "\(proc)/\(pid)", withIntermediateDirectories: true)
        guard let arguments else { return }
        try Data(arguments.utf8).write(to: URL(fileURLWithPath: "\(proc)/\(pid)/cmdline"))
        let fields = ["S"] + Array(repeating: "0", count: 16) + ["1", "0", "4711"]
        try Data("\(pid) (a b) \(fields.joined(separator: " "))".utf8).write(to: URL(fileURLWithPath: "\(proc)/\(pid)/stat"))
    }

    @Test(arguments: ["qemu.pid", "10/cmdline", "10/stat"])
    func `a process of which something cannot be read is not gone`(unreadable: String) throws {
        let folder = FileManager.default.temporaryDirectory.appending(path: "proc-\(UUID().uuidString)").path
        let pidFile = "\(folder)/qemu.pid"
        defer { try? FileManager.default.removeItem(atPath: folder) }
        #expect(try KernelProcess.find(pidFile: pidFile, in: folder) == nil, "it never was")
        try make(10, "qemu\0-pidfile\0\(pidFile)\0", in: folder)
        try Data("10\n".utf8).write(to: URL(fileURLWithPath: pidFile))
        #expect(try KernelProcess.find(pidFile: pidFile, in: folder)?.pid == 10)
        // A folder in a file's place cannot be read, as nothing can that wants a file descriptor where all are taken.
        try FileManager.default.removeItem(atPath: "\(folder)/\(unreadable)")
        try FileManager.default.createDirectory(atPath: "\(folder)/\(unreadable)", withIntermediateDirectories: false)
        let problem = #expect(throws: AgentProblem.self) { try KernelProcess.find(pidFile: pidFile, in: folder) }
        #expect(problem?.reason.message.contains(unreadable) == true)
        try FileManager.default.removeItem(atPath: "\(folder)/\(unreadable)")
        #expect(try KernelProcess.find(pidFile: pidFile, in: folder) == nil, "it has ended")
    }

    @Test func `a guest is ended whether or not that can be written down, and what could not be is told`() async throws {
        try await GuardHost.with { host in
            let guest = try await host.guest("g")
            // A folder stands for a place that cannot be written.
            try FileManager.default.createDirectory(atPath: host.paths("g").ended, withIntermediateDirectories: true)
            let (ended, untold, areGone) = try MarkedGuests.end(host.files, withinMS: 5000)
            #expect(ended == ["g"] && areGone)
            #expect(untold?.reason.message.contains("server g") == true)
            try await eventually("it is gone") { !guest.isRunning }
        }
    }

    @Test func `a guard that does not answer is told from one that is not there`() async throws {
        try await GuardHost.with { host in
            let path = "\(host.files.run)/mute.sock"
            #expect(try GuardLink.ask(path, nil) == nil)
            let listener = try GuardLink.Listener(path)
            defer { withExtendedLifetime(listener) {} }
            let problem = await #expect(throws: AgentProblem.self) { try await offloaded { try GuardLink.ask(path, nil) } }
            #expect(problem?.reason.message.contains("does not answer") == true)
        }
    }

    @Test func `an announcement of a shutdown that cannot be read is none, and an error`() async throws {
        try await GuardHost.with { host in
            #expect(try !host.files.isShuttingDown())
            try host.files.announceShutdown()
            #expect(try host.files.isShuttingDown())
            try FileManager.default.removeItem(atPath: "\(host.files.run)/shutdown")
            try FileManager.default.createDirectory(atPath: "\(host.files.run)/shutdown", withIntermediateDirectories: true)
            #expect(throws: AgentProblem.self) { try host.files.isShuttingDown() }
        }
    }

    @Test func `a process that cannot be looked at is no proof that there is none`() throws {
        let proc = FileManager.default.temporaryDirectory.appending(path: "proc-\(UUID().uuidString)").path
        #expect(KernelProcess.all(naming: ["/x/qemu.pid"], in: proc).trouble != nil, "what cannot be listed")
        try make(10, "qemu\0-pidfile\0/x/qemu.pid\0", in: proc)
        try make(11, "qemu\0-pidfile\0/y/qemu.pid\0", in: proc)
        // It has ended between the listing and the look.
        try make(12, nil, in: proc)
        defer { try? FileManager.default.removeItem(atPath: proc) }
        var findings = KernelProcess.all(naming: ["/x/qemu.pid"], in: proc)
        #expect(findings.found.map(\.process.pid) == [10])
        #expect(findings.trouble == nil)
        // It is there, and reading it fails: a folder stands for a process that is out of reach for want of file descriptors.
        try FileManager.default.createDirectory(atPath: "\(proc)/12/cmdline", withIntermediateDirectories: true)
        findings = KernelProcess.all(naming: ["/x/qemu.pid"], in: proc)
        #expect(findings.found.map(\.process.pid) == [10], "what is seen can still be ended")
        #expect(findings.trouble?.reason.message.contains("12/cmdline") == true)
    }

    @Test func `a question that is none gets an answer that refuses it`() async throws {
        try await GuardHost.with { host in
            let path = "\(host.files.run)/question.sock"
            let listener = try GuardLink.Listener(path)
            async let report = offloaded { try GuardLink.ask(path, Data("{\"order\":7}".utf8)) }
            while true {
                var isServed = false
                listener.serve(withinMS: 100) { _ in
                    isServed = true
                    return GuardReport(state: .serving)
                } refuse: { why in
                    isServed = true
                    return GuardReport(state: .serving, refusal: why)
                }
                if isServed { break }
            }
            let refusal = try #require(try await report?.refusal)
            #expect(refusal.contains("not understood"))
        }
    }
}
