import AgentAPI
import Fleet
import Foundation
import Glibc
import Testing

@testable import Agent
@testable import Hypervisor

@Suite(.serialized, .timeLimit(.minutes(5)))
struct GuestLifeTests {
    @Test func `defines, starts, stops and deletes a guest`() async throws {
        try await withHosts("a") { hosts in
            let host = hosts[0]
            let server = ServerID.unique()
            let defined = try await host.orders.define(server, DefineOrder(epoch: Epoch(1), description: TestGuest.description(server)))
            #expect(defined.summary.status == .stopped)
            #expect(defined.description.machine == "pc-i440fx-7.2" || defined.description.machine.hasPrefix("pc-i440fx-"))
            #expect(defined.description.cpuModel == "qemu64-v1")
            #expect(defined.description.accelerator == .tcg)
            #expect(defined.description.memoryBytes % (256 << 10) != 0)
            #expect(defined.warnings.contains { $0.contains("8 KiB") })
            // Again, as the owner wrote it: nothing changes.
            #expect(
                try await host.orders.define(server, DefineOrder(epoch: Epoch(1), description: TestGuest.description(server))) == defined)

            let started = try await host.orders.start(server, StartOrder(epoch: Epoch(2)))
            #expect(started.summary.status == .running)
            let pid = try #require(started.summary.pid)
            #expect(try await host.orders.start(server, StartOrder(epoch: Epoch(2))).summary.pid == pid)
            try await eventually("the guest ticks") { TestGuest.tick(started.consoleLog) != nil }
            await #expect(throws: AgentProblem.self) { try await host.orders.delete(server, DeleteOrder(epoch: Epoch(2))) }

            // It powers itself off: its last words say so.
            let stopped = try await host.orders.stop(server, StopOrder(epoch: Epoch(3), graceMS: 30_000))
            #expect(stopped.summary.status == .stopped)
            #expect(stopped.summary.pid == nil)
            #expect(!isAlive(pid))
            #expect(try String(contentsOfFile: stopped.consoleLog, encoding: .utf8).contains("GODWIT stop"))

            try await host.orders.delete(server, DeleteOrder(epoch: Epoch(4)))
            try await host.orders.delete(server, DeleteOrder(epoch: Epoch(4)))
            #expect(host.files(under: host.configuration.storages[0].path) == [])
            #expect(try await host.orders.host().guests == [])
        }
    }

    @Test func `a guest whose monitor hangs as the agent comes back is not taken for one that is off`() async throws {
        try await withHosts("a") { hosts in
            let host = hosts[0]
            let servers = [ServerID.unique(), ServerID.unique()]
            var pids: [Int32] = []
            for server in servers {
                _ = try await host.orders.define(server, DefineOrder(epoch: Epoch(1), description: TestGuest.description(server)))
                try await pids.append(#require(host.orders.start(server, StartOrder(epoch: Epoch(2))).summary.pid))
            }
            try await host.stop()
            for pid in pids { kill(pid, SIGSTOP) }
            try await host.start()
            for (server, pid) in zip(servers, pids) {
                let summary = try await host.orders.guest(server).summary
                #expect(summary.status == .running && summary.pid == pid)
                for order in [
                    { try await host.orders.delete(server, DeleteOrder(epoch: Epoch(3))) },
                    { _ = try await host.orders.start(server, StartOrder(epoch: Epoch(3))) },
                    {
                        _ = try await host.orders.lend(
                            server, LendOrder(epoch: Epoch(3), key: AttemptKey(migration: .unique(), attempt: 1)))
                    },
                ] {
                    let problem = await #expect(throws: AgentProblem.self) { try await order() }
                    #expect(problem?.kind == .unreachable && problem?.reason.message.contains("\(pid)") == true)
                }
            }
            // By force one is ended; the other one is found again as soon as it answers.
            #expect(try await host.orders.stop(servers[0], StopOrder(epoch: Epoch(4), graceMS: 0)).summary.status == .stopped)
            #expect(!isAlive(pids[0]))
            kill(pids[1], SIGCONT)
            try await eventually("it is attached to", within: .seconds(30)) {
                do {
                    return try await host.orders.start(servers[1], StartOrder(epoch: Epoch(4))).summary.pid == pids[1]
                } catch let problem as AgentProblem where problem.kind == .unreachable {
                    return false
                }
            }
            #expect(try await host.orders.stop(servers[1], StopOrder(epoch: Epoch(5), graceMS: 0)).summary.status == .stopped)
        }
    }

    @Test func `finds the running guest again after a restart`() async throws {
        try await withHosts("a") { hosts in
            let host = hosts[0]
            let server = ServerID.unique()
            _ = try await host.orders.define(server, DefineOrder(epoch: Epoch(1), description: TestGuest.description(server)))
            let started = try await host.orders.start(server, StartOrder(epoch: Epoch(2)))
            try await host.stop()
            let pid = try #require(started.summary.pid)
            #expect(isAlive(pid))
            try await host.start()
            #expect(try await host.orders.guest(server) == started)
            await #expect(throws: AgentProblem.self) { try await host.orders.stop(server, StopOrder(epoch: Epoch(1), graceMS: 0)) }
            #expect(try await host.orders.stop(server, StopOrder(epoch: Epoch(2), graceMS: 0)).summary.status == .stopped)
            #expect(!isAlive(pid))
        }
    }

    /// Needs root and a bridge to spare: GODWIT_TEST_BRIDGE names one.
    @Test(.enabled(if: ProcessInfo.processInfo.environment["GODWIT_TEST_BRIDGE"] != nil))
    func `puts a nic on its bridge`() async throws {
        let bridge = ProcessInfo.processInfo.environment["GODWIT_TEST_BRIDGE"] ?? ""
        try await withHosts("a", networks: [.init(name: "default", kind: .bridge, bridge: bridge)]) { hosts in
            let server = ServerID.unique()
            _ = try await boot(TestGuest.description(server), on: hosts[0])
            let ports = { try await Program.run("ip", ["-o", "link", "show", "master", bridge], deadline: .seconds(5)).output }
            #expect(try await ports().split(separator: "\n").count == 1)
            _ = try await hosts[0].orders.stop(server, StopOrder(epoch: Epoch(3), graceMS: 0))
            #expect(try await ports().isEmpty)
        }
    }
}
