import AgentAPI
import Attempts
import Fleet
import Foundation
import Glibc
import Sharing
import Testing

@testable import Agent
@testable import Hypervisor

/// A server is started elsewhere while its host was thought to be gone.
@Suite(.serialized, .timeLimit(.minutes(5)))
struct RescueTests {
    /// A guest with a shared disk that runs on the first host, and its process.
    static func run(_ hosts: [TestHost]) async throws -> (GuestReport, pid: Int32) {
        let report = try await boot(TestGuest.description(.unique(), storages: ["shared"]), on: hosts[0])
        return (report, try #require(report.summary.pid))
    }

    static func expectRescued(_ server: ServerID, _ hosts: [TestHost], endedGuest: Bool) async throws {
        let problem = await #expect(throws: AgentProblem.self) {
            try await hosts[0].orders.start(server, StartOrder(epoch: Epoch(20)))
        }
        #expect(problem?.kind == .owned)
        let report = try await hosts[1].orders.start(server, StartOrder(epoch: Epoch(21)))
        try await eventually("it boots from the disk that it has") { TestGuest.tick(report.consoleLog) != nil }
        let inode = SharedStorageTests.inode("\(SharedStorageTests.folder(server, on: hosts[0]))/disk0.qcow2")
        for _ in 0..<2 {
            let discarded = try await hosts[0].orders.discard(
                server,
                DiscardOrder(epoch: Epoch(30), key: AttemptKey(migration: .unique(), attempt: 1), end: .source, rescuedBy: "b"))
            #expect(discarded.endedGuest == endedGuest)
        }
        #expect(try await hosts[0].orders.host().guests == [])
        #expect(SharedStorageTests.inode("\(SharedStorageTests.folder(server, on: hosts[0]))/disk0.qcow2") == inode && inode != 0)
        #expect(try SharedStorageTests.owner(server, on: hosts[0]).host == "b")
        #expect(try await hosts[1].orders.guest(server).summary.status == .running)
    }

    @Test func `an agent that comes back ends the guest before anything else`() async throws {
        try await withHosts("a", "b") { hosts in
            let (report, pid) = try await Self.run(hosts)
            let server = report.description.server
            try await hosts[0].stop()
            _ = try await SharedStorageTests.adopt(report.description, on: hosts[1], from: "a", epoch: 10)
            #expect(try SharedStorageTests.owner(server, on: hosts[1]) == OwnerRecord(server: server, epoch: Epoch(10), host: "b"))
            // The old guest runs on, and its image is locked.
            #expect(isAlive(pid))
            let locked = await #expect(throws: AgentProblem.self) {
                try await hosts[1].orders.start(server, StartOrder(epoch: Epoch(11)))
            }
            #expect(locked?.reason.message.contains("lock") == true, "\(String(describing: locked))")
            #expect(isAlive(pid))
            try await hosts[0].start()
            #expect(!isAlive(pid))
            try await Self.expectRescued(server, hosts, endedGuest: true)
        }
    }

    @Test(arguments: [false, true])
    func `an agent that never was away sees the newer owner and ends the guest`(monitorHangs: Bool) async throws {
        try await withHosts("a", "b") { hosts in
            let (report, pid) = try await Self.run(hosts)
            if monitorHangs { kill(pid, SIGSTOP) }
            _ = try await SharedStorageTests.adopt(report.description, on: hosts[1], from: "a", epoch: 10)
            try await eventually("the guest is ended", within: .seconds(8)) { !isAlive(pid) }
            try await eventually("and forgotten", within: .seconds(8)) { try await hosts[0].orders.host().guests == [] }
            try await Self.expectRescued(report.description.server, hosts, endedGuest: true)
        }
    }

    @Test func `the order to give way ends the guest too, and comes too late for a newer owner`() async throws {
        try await withHosts("a", "b") { hosts in
            let (report, pid) = try await Self.run(hosts)
            let server = report.description.server
            _ = try await hosts[0].orders.stop(server, StopOrder(epoch: Epoch(5), graceMS: 0))
            #expect(!isAlive(pid))
            _ = try await SharedStorageTests.adopt(report.description, on: hosts[1], from: "a", epoch: 10)
            try await Self.expectRescued(server, hosts, endedGuest: false)
            // The new owner is not told to give way to anybody older.
            let problem = await #expect(throws: AgentProblem.self) {
                try await hosts[1].orders.discard(
                    server,
                    DiscardOrder(epoch: Epoch(9), key: AttemptKey(migration: .unique(), attempt: 1), end: .source, rescuedBy: "a"))
            }
            #expect(problem?.kind == .staleEpoch)
            #expect(try await hosts[1].orders.guest(server).summary.status == .running)
        }
    }

    /// Then the storage says nothing of the server any more.
    @Test func `the order to give way is enough where the rescued server was deleted since`() async throws {
        try await withHosts("a", "b") { hosts in
            let (report, pid) = try await Self.run(hosts)
            let server = report.description.server
            try await hosts[0].stop()
            _ = try await SharedStorageTests.adopt(report.description, on: hosts[1], from: "a", epoch: 10)
            try await hosts[1].orders.delete(server, DeleteOrder(epoch: Epoch(11)))
            try await hosts[0].start()
            // Nobody tells it whose the server is.
            #expect(isAlive(pid))
            let doubt = await #expect(throws: AgentProblem.self) {
                try await hosts[0].orders.start(server, StartOrder(epoch: Epoch(12)))
            }
            #expect(doubt?.kind == .unreachable)
            for _ in 0..<2 {
                let discarded = try await hosts[0].orders.discard(
                    server,
                    DiscardOrder(epoch: Epoch(30), key: AttemptKey(migration: .unique(), attempt: 1), end: .source, rescuedBy: "b"))
                #expect(discarded.endedGuest)
            }
            #expect(!isAlive(pid))
            #expect(try await hosts[0].orders.host().guests == [])
        }
    }

    @Test func `a rescue is taken back as long as nothing was started`() async throws {
        try await withHosts("a", "b", "c") { hosts in
            let server = ServerID.unique()
            let description = TestGuest.description(server, storages: ["shared"])
            let pinned = try await hosts[0].orders.define(server, DefineOrder(epoch: Epoch(1), description: description)).description
            let before = try SharedStorageTests.owner(server, on: hosts[0])
            try await hosts[0].stop()
            let key = try await SharedStorageTests.adopt(pinned, on: hosts[1], from: "a", epoch: 10)
            // Again: found done.
            _ = try await hosts[1].orders.adopt(server, AdoptOrder(epoch: Epoch(10), key: key, description: pinned, owners: ["a"]))
            #expect(try await hosts[1].orders.refuse(server, RefuseOrder(epoch: Epoch(10), key: key)).phase == .refused)
            #expect(try SharedStorageTests.owner(server, on: hosts[0]) == before)
            await #expect(throws: AgentProblem.self) {
                try await hosts[1].orders.adopt(server, AdoptOrder(epoch: Epoch(10), key: key, description: pinned, owners: ["a"]))
            }
            // Another host takes it, also where the first could not be asked to give it back.
            _ = try await SharedStorageTests.adopt(pinned, on: hosts[1], from: "a", epoch: 11)
            let foreign = await #expect(throws: AgentProblem.self) {
                _ = try await SharedStorageTests.adopt(pinned, on: hosts[2], from: "a", epoch: 12)
            }
            #expect(foreign?.reason.code == .notShared)
            let second = AttemptKey(migration: .unique(), attempt: 2)
            _ = try await hosts[2].orders.adopt(
                server, AdoptOrder(epoch: Epoch(12), key: second, description: pinned, owners: ["a", "b"]))
            #expect(try await hosts[2].orders.start(server, StartOrder(epoch: Epoch(13))).summary.status == .running)
            let refusal = await #expect(throws: AgentProblem.self) {
                try await hosts[2].orders.refuse(server, RefuseOrder(epoch: Epoch(13), key: second))
            }
            #expect(refusal?.kind == .owned)
            try await eventually("the first gives it up", within: .seconds(8)) { try await hosts[1].orders.host().guests == [] }
            try await hosts[0].start()
            #expect(try await hosts[0].orders.host().guests == [])
        }
    }

    @Test func `a host that gave the server up has it again when the rescue is taken back`() async throws {
        try await withHosts("a", "b") { hosts in
            let (report, pid) = try await Self.run(hosts)
            let server = report.description.server
            let key = try await SharedStorageTests.adopt(report.description, on: hosts[1], from: "a", epoch: 10)
            try await eventually("a gives it up", within: .seconds(8)) { try await hosts[0].orders.host().guests == [] && !isAlive(pid) }
            #expect(try await hosts[1].orders.refuse(server, RefuseOrder(epoch: Epoch(10), key: key)).phase == .refused)
            try await eventually("a has it again", within: .seconds(8)) {
                try await hosts[0].orders.host().guests.map(\.status) == [.stopped]
            }
            #expect(try await hosts[1].orders.host().guests == [])
            #expect(try await hosts[0].orders.start(server, StartOrder(epoch: Epoch(11))).summary.status == .running)
        }
    }

    @Test func `a local disk is not left behind`() async throws {
        try await withHosts("a", "b") { hosts in
            let server = ServerID.unique()
            let pinned = try await hosts[0].orders.define(
                server, DefineOrder(epoch: Epoch(1), description: TestGuest.description(server, disks: 2, storages: ["shared", "local"]))
            ).description
            let problem = await #expect(throws: AgentProblem.self) {
                _ = try await SharedStorageTests.adopt(pinned, on: hosts[1], from: "a", epoch: 10)
            }
            #expect(problem?.reason.code == .localDisk && problem?.reason.message.contains("disk1") == true)
        }
    }
}

/// Whose a server is, decided.
struct OwnerRuleTests {
    static func record(_ host: String, _ epoch: Int64) -> OwnerRecord { OwnerRecord(server: "s", epoch: Epoch(epoch), host: host) }

    @Test func `a newer owner wins, an older one is corrected`() {
        func judge(_ found: [String: OwnerRecord?]) -> OwnerRule.Verdict { OwnerRule.judge(found, host: "a", since: Epoch(5)) }
        #expect(judge([:]) == .mine)
        #expect(judge(["s": Self.record("a", 5)]) == .mine)
        #expect(judge(["s": nil]) == .write(["s"]))
        #expect(judge(["s": Self.record("a", 4)]) == .write(["s"]))
        #expect(judge(["s": Self.record("b", 4)]) == .write(["s"]))
        #expect(judge(["s": Self.record("b", 5)]) == .lost(Self.record("b", 5)))
        #expect(judge(["s": Self.record("a", 5), "t": Self.record("b", 6), "u": Self.record("c", 7)]) == .lost(Self.record("c", 7)))
    }
}
