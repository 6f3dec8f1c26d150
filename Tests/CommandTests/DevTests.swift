import Fleet
import Foundation
import Testing

@testable import LocalFleet
@testable import Output
@testable import godwit

@Suite struct DevLayoutTests {
    @Test func `the state folder follows the XDG rules`() {
        #expect(DevLayout.defaultState(["HOME": "/home/a"]) == "/home/a/.local/state/godwit/dev")
        #expect(DevLayout.defaultState(["HOME": "/home/a", "XDG_STATE_HOME": "/s"]) == "/s/godwit/dev")
        #expect(DevLayout.defaultState(["HOME": "/home/a", "XDG_STATE_HOME": "relative"]) == "/home/a/.local/state/godwit/dev")
    }

    @Test func `sockets lie on a short path that is each state folder's own`() {
        let deep = "/home/somebody/" + String(repeating: "deep/", count: 40)
        let here = DevLayout.runDirectory(of: deep, [:])
        #expect(here == DevLayout.runDirectory(of: deep, [:]))
        #expect(here != DevLayout.runDirectory(of: deep + "x", [:]))
        #expect(here.hasPrefix("/tmp/godwit-"))
        #expect(DevLayout.runDirectory(of: deep, ["XDG_RUNTIME_DIR": "/run/user/1000"]).hasPrefix("/run/user/1000/godwit-"))
        #expect(DevLayout.runDirectory(of: deep, ["XDG_RUNTIME_DIR": deep]).hasPrefix("/tmp/godwit-"))
        let layout = DevLayout(state: deep, runDirectory: DevLayout.runDirectory(of: deep, ["XDG_RUNTIME_DIR": "/run/user/1000000"]))
        // A guest's folder is named for a UUID.
        let socket = "\(layout.host(64).runDirectory)/\(UUID().uuidString)/outgoing-memory.sock"
        #expect(socket.utf8.count < 108)
    }

    @Test func `an agent's configuration survives odd paths`() throws {
        let host = DevLayout(state: "/a \"b\"\\c: d", runDirectory: "/tmp/godwit-1").host(1)
        let text = DevFiles.agentConfiguration(
            host, shared: "/s", port: 7, accelerator: .tcg, authority: "/ca.pem",
            credential: DevFiles.Credential(certificate: "/c.pem", key: "/k.pem"))
        let fields = try YAMLFields(
            YAMLFields.document(text, file: "agent.yaml"), subject: "agent",
            known: ["name", "listen", "stateDirectory", "runDirectory", "storages", "networks", "accelerator", "tls"], file: "agent.yaml")
        #expect(try fields.string("stateDirectory") == host.stateDirectory)
        #expect(try fields.string("listen") == "127.0.0.1:7")
    }

    @Test func `the line to paste survives a shell`() {
        let line = DevFiles.exportLine(url: "https://127.0.0.1:1", token: "abc", authority: "/a b/it's/ca.pem")
        #expect(line == "export GODWIT_URL=https://127.0.0.1:1 GODWIT_TOKEN=abc GODWIT_CACERT='/a b/it'\\''s/ca.pem'")
    }

    @Test func `an address is read only from a whole line`() {
        #expect(LogFile.listeningAddress(in: "hello\nlistening https://127.0.0.1:12") == nil)
        #expect(LogFile.listeningAddress(in: "hello\nlistening https://127.0.0.1:12345\n") == "https://127.0.0.1:12345")
        #expect(LogFile.listeningAddress(in: "godwit-agent listening https://127.0.0.1:5 as host1\n") == "https://127.0.0.1:5")
        #expect(LogFile.listeningAddress(in: "not listening\n") == nil)
        #expect(LogFile.isReady("hello\nready w1\n"))
        #expect(!LogFile.isReady("hello\nready w"))
        #expect(!LogFile.isReady("not ready yet\n"))
    }

    @Test func `only this fleet's QEMUs are its own`() {
        let layout = DevLayout(state: "/s", runDirectory: "/tmp/godwit-1")
        #expect(DevGuests.belongs(["/usr/bin/qemu-system-x86_64", "-qmp", "unix:/tmp/godwit-1/h1/x.sock"], to: layout))
        #expect(DevGuests.belongs(["qemu-system-x86_64", "-pidfile", "/s/hosts/host1/agent/pid"], to: layout))
        #expect(!DevGuests.belongs(["qemu-system-x86_64", "-qmp", "unix:/tmp/godwit-12/h1/x.sock"], to: layout))
        #expect(!DevGuests.belongs(["vim", "/tmp/godwit-1/h1/x"], to: layout))
        #expect(!DevGuests.belongs([], to: layout))
    }

    @Test func `a state folder is held by one`() throws {
        let path = FileManager.default.temporaryDirectory.appendingPathComponent("lock-\(UUID().uuidString)").path
        defer { try? FileManager.default.removeItem(atPath: path) }
        do {
            let lock = try DevLock(path)
            let error = #expect(throws: CommandFailure.self) { _ = try DevLock(path) }
            #expect(error?.message.contains("(pid \(getpid()))") == true)
            withExtendedLifetime(lock) {}
        }
        _ = try DevLock(path)
    }
}

@Suite struct DevProcessTests {
    private struct Story {
        let process: DevProcess
        let events: AsyncStream<DevProcess.Event>
    }

    /// A shell script as a daemon, stopped and gone afterwards.
    private func withDaemon(
        _ script: String, listens: Bool, _ body: (Story, inout AsyncStream<DevProcess.Event>.Iterator) async throws -> Void
    ) async throws {
        let log = FileManager.default.temporaryDirectory.appendingPathComponent("daemon-\(UUID().uuidString).log").path
        let (events, sink) = AsyncStream.makeStream(of: DevProcess.Event.self)
        let process = DevProcess(
            name: "daemon", program: "/bin/sh", port: listens ? 0 : nil, log: LogFile(path: log), prepare: { _ in ["-c", script] },
            report: { _, event in sink.yield(event) })
        let supervision = Task {
            await process.supervise()
            sink.finish()
        }
        var iterator = events.makeAsyncIterator()
        let outcome: Result<Void, any Error>
        do {
            outcome = .success(try await body(Story(process: process, events: events), &iterator))
        } catch {
            outcome = .failure(error)
        }
        await process.stop(grace: .seconds(2))
        await supervision.value
        try FileManager.default.removeItem(atPath: log)
        try outcome.get()
    }

    @Test(.timeLimit(.minutes(1))) func `what is killed is started again, and told by what ended it`() async throws {
        try await withDaemon("echo listening https://127.0.0.1:4; exec sleep 600", listens: true) { _, events in
            guard case .running(let first, let address, let before)? = await events.next() else {
                Issue.record("it did not start")
                return
            }
            #expect(address == "https://127.0.0.1:4")
            #expect(before == nil)
            ProcessTable.signal(first, SIGKILL)
            guard case .running(let second, _, let end)? = await events.next() else {
                Issue.record("it did not start again")
                return
            }
            #expect(end == "ended (signal 9)")
            #expect(second != first)
            #expect(ProcessTable.identity(first.pid) != first)
        }
    }

    @Test(.timeLimit(.minutes(1))) func `a first start that fails is final and shows the log's end`() async throws {
        try await withDaemon("echo one; echo no such option; exit 2", listens: true) { _, events in
            guard case .failed(let how, let log, let everRan)? = await events.next() else {
                Issue.record("it should have failed")
                return
            }
            #expect(how == "ended (exit code 2)")
            #expect(log == ["one", "no such option"])
            #expect(!everRan)
            #expect(await events.next() == nil)
        }
    }

    @Test(.timeLimit(.minutes(1))) func `a daemon that does not listen says that it is ready`() async throws {
        try await withDaemon("echo starting; exit 1", listens: false) { _, events in
            guard case .failed? = await events.next() else {
                Issue.record("it should have failed")
                return
            }
        }
        try await withDaemon("echo ready w1; exec sleep 600", listens: false) { _, events in
            guard case .running(_, nil, nil)? = await events.next() else {
                Issue.record("it should run")
                return
            }
        }
    }

    @Test(.timeLimit(.minutes(1))) func `stopping ends it for good, also one that does not want to`() async throws {
        try await withDaemon("trap '' TERM; echo listening https://127.0.0.1:4; while :; do sleep 1; done", listens: true) {
            story, events in
            guard case .running(let identity, _, _)? = await events.next() else {
                Issue.record("it did not start")
                return
            }
            await story.process.stop(grace: .milliseconds(100))
            #expect(ProcessTable.identity(identity.pid) == nil)
            #expect(await events.next() == nil)
        }
    }
}
