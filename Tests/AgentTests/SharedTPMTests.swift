import AgentAPI
import Fleet
import Foundation
import Glibc
import QMP
import Testing

@testable import Agent
@testable import Hypervisor

/// A TPM whose state every host sees.
@Suite(.serialized, .timeLimit(.minutes(6)))
struct SharedTPMTests {
    private static func description() -> GuestDescription {
        var guest = TestGuest.description(.unique(), storages: ["shared"], parameters: "godwit.tpm=1")
        guest.tpm = .v2
        return guest
    }

    private static func paths(_ server: ServerID, on host: TestHost) -> GuestPaths { HostPaths(host.configuration).of(server) }

    private static func place(_ server: ServerID, on host: TestHost) -> String {
        "\(SharedStorageTests.folder(server, on: host))/tpm"
    }

    /// What the TPM keeps, as it stands on the storage.
    private static func state(_ server: ServerID, on host: TestHost) throws -> Data {
        try Data(contentsOf: URL(fileURLWithPath: "\(place(server, on: host))/tpm2-00.permall"))
    }

    private static func link(_ server: ServerID, on host: TestHost) -> String? {
        try? FileManager.default.destinationOfSymbolicLink(atPath: paths(server, on: host).tpmLink)
    }

    private static func started(on host: TestHost) async throws -> GuestReport {
        let report = try await boot(description(), on: host)
        try await eventually("the guest has written into its TPM") { TPMTests.number(report.consoleLog) >= 2 }
        return report
    }

    /// Moves it until the source's guest stands still for good.
    private static func send(_ mover: Mover) async throws {
        let endpoints = try await mover.prepare()
        try await mover.mirror(endpoints)
        try await mover.outgoing(.mirrored)
        try await mover.sendMemory(endpoints)
    }

    private static func expectGoingOn(_ server: ServerID, on host: TestHost, beyond last: Int) async throws {
        let console = try await host.orders.guest(server).consoleLog
        // The guest compares what its TPM holds in memory and what it has written each time.
        try await eventually("it goes on where it was") { TPMTests.number(console) >= last + 3 }
        #expect(TPMTests.witness(console)?["tpmerr"] == "0")
        #expect(TPMTests.witness(console)?["found"] == "0")
    }

    @Test func `moves live there and back, and keeps what the guest wrote over a power cut`() async throws {
        try await withHosts("a", "b") { hosts in
            let report = try await Self.started(on: hosts[0])
            let server = report.summary.server
            let there = Mover(server, from: hosts[0], to: hosts[1])
            let endpoints = try await there.prepare()
            // Until the switch the storage has what the source writes, and nothing else.
            #expect(Self.link(server, on: hosts[1]) == Self.paths(server, on: hosts[1]).tpmArrival)
            let before = TPMTests.number(report.consoleLog)
            try await eventually("the source writes on") { TPMTests.number(report.consoleLog) > before + 1 }
            try await there.mirror(endpoints)
            try await there.outgoing(.mirrored)
            try await there.sendMemory(endpoints)
            try await there.outgoing(.confirmed)
            let last = TPMTests.number(report.consoleLog)
            try await Self.expectGoingOn(server, on: hosts[1], beyond: last)
            #expect(Self.link(server, on: hosts[1]) == Self.place(server, on: hosts[1]))
            #expect(!FileManager.default.fileExists(atPath: Self.paths(server, on: hosts[1]).tpmArrival))
            let console = try await hosts[1].orders.guest(server).consoleLog
            let seen = try Self.state(server, on: hosts[0])
            try await eventually("what it writes is on the storage") { try Self.state(server, on: hosts[0]) != seen }

            // The source's TPM ends without a last word.
            _ = try await hosts[1].orders.pause(server, PauseOrder(epoch: Epoch(11), isPaused: true))
            let still = try Self.state(server, on: hosts[0])
            let inode = SharedStorageTests.inode("\(Self.place(server, on: hosts[0]))/tpm2-00.permall")
            try await hosts[0].orders.discard(server, DiscardOrder(epoch: Epoch(11), key: there.key, end: .source))
            #expect(try TPMEmulator.pid(Self.paths(server, on: hosts[0])) == nil)
            #expect(try Self.state(server, on: hosts[0]) == still)
            #expect(SharedStorageTests.inode("\(Self.place(server, on: hosts[0]))/tpm2-00.permall") == inode)
            _ = try await hosts[1].orders.pause(server, PauseOrder(epoch: Epoch(12), isPaused: false))

            // Back, from a TPM behind a link.
            var back = Mover(server, from: hosts[1], to: hosts[0])
            back.epoch = Epoch(20)
            let reached = TPMTests.number(console)
            try await Self.send(back)
            try await back.outgoing(.confirmed)
            try await Self.expectGoingOn(server, on: hosts[0], beyond: reached)
            try await hosts[1].orders.discard(server, DiscardOrder(epoch: Epoch(21), key: back.key, end: .source))
            #expect(Self.link(server, on: hosts[1]) == nil)

            let home = try await hosts[0].orders.guest(server)
            let written = TPMTests.number(home.consoleLog)
            kill(try #require(home.summary.pid), SIGKILL)
            try await eventually("the agent sees it") { try await hosts[0].orders.guest(server).summary.status == .stopped }
            _ = try await hosts[0].orders.start(server, StartOrder(epoch: Epoch(30)))
            #expect(Self.link(server, on: hosts[0]) == nil)
            try await eventually("it found what it had written") { TPMTests.number(home.consoleLog, "found") >= written }
            _ = try await hosts[0].orders.stop(server, StopOrder(epoch: Epoch(31), graceMS: 0))
            try await hosts[0].orders.delete(server, DeleteOrder(epoch: Epoch(32)))
            #expect(!FileManager.default.fileExists(atPath: Self.place(server, on: hosts[0])))
        }
    }

    @Test func `a target that is given up leaves the state to the source`() async throws {
        try await withHosts("a", "b") { hosts in
            let report = try await Self.started(on: hosts[0])
            let server = report.summary.server
            let mover = Mover(server, from: hosts[0], to: hosts[1])
            _ = try await mover.prepare()
            _ = try await hosts[1].orders.refuse(server, RefuseOrder(epoch: mover.epoch, key: mover.key))
            try await hosts[1].orders.discard(server, DiscardOrder(epoch: mover.epoch, key: mover.key, end: .target))
            #expect(Self.link(server, on: hosts[1]) == nil)
            #expect(!FileManager.default.fileExists(atPath: Self.paths(server, on: hosts[1]).tpmArrival))
            let seen = TPMTests.number(report.consoleLog)
            try await Self.expectGoingOn(server, on: hosts[0], beyond: seen)
            // The next try works at once.
            let again = Mover(server, from: hosts[0], to: hosts[1], attempt: 2, migration: mover.key.migration)
            try await Self.send(again)
            try await again.outgoing(.confirmed)
            try await Self.expectGoingOn(server, on: hosts[1], beyond: TPMTests.number(report.consoleLog))
        }
    }

    /// Where the way from the arrival to the storage breaks off.
    enum Break: CaseIterable {
        case beforeCopy, beforeSwap
    }

    @Test(arguments: Break.allCases, [false, true])
    func `an agent that ends on the way leaves a guest that does not run, and the next one sees it through`(
        at point: Break, losesQEMU: Bool
    ) async throws {
        try await withHosts("a", "b") { hosts in
            let report = try await Self.started(on: hosts[0])
            let server = report.summary.server
            // A folder stands where a file is to be made.
            let obstacle =
                point == .beforeCopy
                ? "\(Self.place(server, on: hosts[0]))/tpm2-00.permall.new" : Self.paths(server, on: hosts[1]).tpmLink + ".new"
            let mover = Mover(server, from: hosts[0], to: hosts[1])
            let endpoints = try await mover.prepare()
            try FileManager.default.createDirectory(atPath: obstacle, withIntermediateDirectories: true)
            try await mover.mirror(endpoints)
            try await mover.outgoing(.mirrored)
            try await mover.sendMemory(endpoints)
            try await mover.incoming(.owned)
            let last = TPMTests.number(report.consoleLog)
            let kept = try Self.state(server, on: hosts[0])
            try await Task.sleep(for: .seconds(2))
            #expect(try await mover.incoming(.owned).phase == .owned, "it stays so")
            try await hosts[1].stop()
            try await hosts[1].withMonitor(of: server) { monitor in
                let isRunning = try await monitor.queryStatus().running
                #expect(!isRunning)
            }
            #expect(try Self.state(server, on: hosts[0]) == kept)
            #expect(Self.link(server, on: hosts[1]) == Self.paths(server, on: hosts[1]).tpmArrival)
            try FileManager.default.removeItem(atPath: obstacle)
            guard losesQEMU else {
                try await hosts[1].start()
                try await mover.incoming(.running)
                try await Self.expectGoingOn(server, on: hosts[1], beyond: last)
                #expect(Self.link(server, on: hosts[1]) == Self.place(server, on: hosts[1]))
                return
            }
            // Its memory is gone; what it wrote into its TPM is not.
            let pid = try #require(try await Self.pid(server, on: hosts[1]))
            kill(pid, SIGKILL)
            try await hosts[1].start()
            // The source's TPM has its folder locked as long as it is there.
            let early = try await refusal { _ = try await hosts[1].orders.start(server, StartOrder(epoch: Epoch(29))) }
            #expect(early?.reason.code == .qemuError)
            try await hosts[0].orders.discard(server, DiscardOrder(epoch: Epoch(29), key: mover.key, end: .source))
            let started = try await hosts[1].orders.start(server, StartOrder(epoch: Epoch(30)))
            try await eventually("it found what it had written") { TPMTests.number(started.consoleLog, "found") >= last }
            #expect(Self.link(server, on: hosts[1]) == nil)
        }
    }

    private static func pid(_ server: ServerID, on host: TestHost) async throws -> Int32? {
        let text = try String(contentsOfFile: paths(server, on: host).pid, encoding: .utf8)
        return Int32(text.trimmingCharacters(in: .whitespacesAndNewlines))
    }
}
