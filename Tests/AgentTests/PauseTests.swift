import AgentAPI
import Fleet
import Foundation
import Testing

@testable import Agent
@testable import Hypervisor

/// Servers that stand still by somebody's order.
@Suite(.serialized, .timeLimit(.minutes(5)))
struct PauseTests {
    private func pause(_ server: ServerID, on host: TestHost, _ isPaused: Bool, epoch: Int64) async throws -> GuestReport {
        try await host.orders.pause(server, PauseOrder(epoch: Epoch(epoch), isPaused: isPaused))
    }

    /// The guest executes nothing: its console stands still while another's clock goes on.
    private func expectStillness(_ console: String) async throws {
        let before = TestGuest.tick(console)
        try await Task.sleep(for: .milliseconds(600))
        #expect(TestGuest.tick(console) == before)
    }

    private func move(_ server: ServerID, from source: TestHost, to target: TestHost, epoch: Int64) async throws -> Mover {
        var mover = Mover(server, from: source, to: target)
        mover.epoch = Epoch(epoch)
        let endpoints = try await mover.prepare()
        try await mover.mirror(endpoints)
        try await mover.outgoing(.mirrored)
        try await mover.sendMemory(endpoints)
        let report = try await mover.outgoing(.confirmed)
        #expect(report.isPaused == true)
        #expect(report.blackout == nil)
        #expect(try await mover.incoming(.running).isPaused == true)
        return mover
    }

    @Test func `a paused guest stands still, moves there and back paused, and goes on whole`() async throws {
        try await withHosts("a", "b") { hosts in
            let server = ServerID.unique()
            let booted = try await boot(TestGuest.description(server, disks: 2, parameters: "godwit.dirty_mb_s=20"), on: hosts[0])
            #expect(try await pause(server, on: hosts[0], true, epoch: 3).summary.status == .paused)
            #expect(try await pause(server, on: hosts[0], true, epoch: 3).summary.status == .paused)
            try await expectStillness(booted.consoleLog)
            let last = try #require(TestGuest.tick(booted.consoleLog))

            let there = try await move(server, from: hosts[0], to: hosts[1], epoch: 10)
            let arrived = try await hosts[1].orders.guest(server)
            #expect(arrived.summary.status == .paused)
            #expect(TestGuest.tick(arrived.consoleLog) == nil)
            await #expect(throws: AgentProblem.self) { try await pause(server, on: hosts[0], false, epoch: 11) }
            try await hosts[0].orders.discard(server, DiscardOrder(epoch: Epoch(11), key: there.key, end: .source))

            // On again without having run: its disks must be the target's own by now. The agent is a new one that only has its record.
            try await hosts[1].stop()
            try await hosts[1].start()
            _ = try await move(server, from: hosts[1], to: hosts[0], epoch: 20)
            #expect(try await pause(server, on: hosts[0], false, epoch: 21).summary.status == .running)
            let console = try await hosts[0].orders.guest(server).consoleLog
            try await eventually("it ticks on, and has verified its memory since") {
                guard let sweeps = TestGuest.tick(console)?["sweeps"].flatMap({ Int($0) }) else { return false }
                return sweeps >= (last["sweeps"].flatMap { Int($0) } ?? 0) + 2
            }
            let tick = try #require(TestGuest.tick(console))
            #expect(tick["boot"] == last["boot"])
            #expect(tick["memerr"] == "0")
            try await eventually("it writes on") {
                (TestGuest.tick(console)?["record"].flatMap { Int($0) } ?? 0) > (last["record"].flatMap { Int($0) } ?? 0)
            }
        }
    }

    @Test func `a paused guest whose migration is called off stays paused, and can be moved again`() async throws {
        try await withHosts("a", "b") { hosts in
            let description = TestGuest.description(.unique())
            let server = description.server
            let booted = try await boot(description, on: hosts[0])
            _ = try await pause(server, on: hosts[0], true, epoch: 3)
            let mover = Mover(server, from: hosts[0], to: hosts[1])
            let endpoints = try await mover.prepare()
            try await mover.mirror(endpoints, bandwidth: MigrationFaultTests.slow)
            try await mover.outgoing(.mirrored)
            try await mover.sendMemory(endpoints, bandwidth: MigrationFaultTests.slow)
            try await mover.outgoing(.memory)
            await #expect(throws: AgentProblem.self) { try await pause(server, on: hosts[0], false, epoch: 10) }
            let aborted = try await hosts[0].orders.abort(server, AbortOrder(epoch: Epoch(10), key: mover.key, targetRefused: false))
            #expect(aborted.phase == .aborted)
            _ = try await hosts[1].orders.refuse(server, RefuseOrder(epoch: Epoch(10), key: mover.key))
            try await hosts[1].orders.discard(server, DiscardOrder(epoch: Epoch(10), key: mover.key, end: .target))
            #expect(try await hosts[0].orders.guest(server).summary.status == .paused)
            try await expectStillness(booted.consoleLog)

            _ = try await move(server, from: hosts[0], to: hosts[1], epoch: 20)
            _ = try await pause(server, on: hosts[1], false, epoch: 21)
            let console = try await hosts[1].orders.guest(server).consoleLog
            try await MigrationFaultTests.expectTicking(console, boot: TestGuest.tick(booted.consoleLog)?["boot"])
        }
    }

    @Test func `a paused guest that the target refused after the handover comes back paused`() async throws {
        try await withHosts("a", "b") { hosts in
            let description = TestGuest.description(.unique())
            let server = description.server
            let booted = try await boot(description, on: hosts[0])
            _ = try await pause(server, on: hosts[0], true, epoch: 3)
            let mover = Mover(server, from: hosts[0], to: hosts[1])
            let endpoints = try await mover.prepare()
            try await mover.mirror(endpoints)
            try await mover.outgoing(.mirrored)
            // Nobody there takes the handover.
            _ = try await hosts[0].orders.sendMemory(
                server,
                MemoryOrder(
                    epoch: mover.epoch, key: mover.key, target: endpoints, targetAgentURL: "https://127.0.0.1:1", bandwidth: nil,
                    rules: ConvergenceRules()))
            try await mover.outgoing(.handedOver)
            _ = try await hosts[1].orders.refuse(server, RefuseOrder(epoch: mover.epoch, key: mover.key))
            let back = try await hosts[0].orders.abort(server, AbortOrder(epoch: mover.epoch, key: mover.key, targetRefused: true))
            #expect(back.phase == .aborted)
            #expect(try await hosts[0].orders.guest(server).summary.status == .paused)
            try await expectStillness(booted.consoleLog)
            #expect(try await pause(server, on: hosts[0], false, epoch: 11).summary.status == .running)
            try await MigrationFaultTests.expectTicking(booted.consoleLog, boot: TestGuest.tick(booted.consoleLog)?["boot"])
        }
    }
}
