import AgentAPI
import Attempts
import Fleet
import Foundation
import Glibc
import Hypervisor
import QMP
import Testing

@testable import Agent

/// Post-copy between real QEMUs, of a guest that dirties memory faster than it is sent.
@Suite(.serialized, .timeLimit(.minutes(5)))
struct PostCopyTests {
    /// Bytes a second.
    static let slow: Int64 = 4_000_000
    /// Of the way between the hosts, bytes a second: pages that are asked for know no other limit in QEMU.
    static let way = 8_000_000

    /// The target runs the guest, and much of its memory is still at the source.
    static func begin(
        _ hosts: [TestHost], streams: StreamOptions = StreamOptions(isPostCopyAllowed: true)
    ) async throws -> (Mover, CuttableLink, boot: String?, Endpoints) {
        let server = ServerID.unique()
        let description = TestGuest.description(server, parameters: "godwit.dirty_mb_s=60 godwit.dirty_set_mb=32")
        let report = try await boot(description, on: hosts[0])
        var mover = Mover(server, from: hosts[0], to: hosts[1])
        mover.streams = streams
        var endpoints = try await mover.prepare()
        let link = try CuttableLink(to: endpoints.memoryPort, bytesPerSecond: way)
        endpoints.memoryPort = link.port
        try await mover.mirror(endpoints)
        try await mover.outgoing(.mirrored)
        let rules = ConvergenceRules(downtimeLimitMS: 30, autoConverge: false, postCopy: true)
        try await mover.sendMemory(endpoints, bandwidth: 24_000_000, rules: rules)
        try await eventually("the end of the rounds", within: .seconds(100)) {
            try await sourcesSide(mover).events.contains { $0.reason.code == .postCopy }
        }
        // What is missing takes its time.
        try await mover.sendMemory(endpoints, bandwidth: slow, rules: rules)
        try await mover.outgoing(.confirmed, within: .seconds(50))
        return (mover, link, TestGuest.tick(report.consoleLog)?["boot"], endpoints)
    }

    static func sourcesSide(_ mover: Mover) async throws -> OutgoingReport {
        try await mover.source.orders.outgoing(mover.server, mover.key, seen: 0, waitMS: 0)
    }

    /// Reads all memory on the main loop, which hangs at the first page that is missing.
    static func readMemory(_ process: GuestProcess) async throws {
        _ = try await process.monitor.execute(
            "pmemsave", ["val": 0, "size": 67_108_864, "filename": "/dev/null"], deadline: .seconds(60))
    }

    /// Until QEMU's main loop answers nothing.
    static func hangs(_ process: GuestProcess) async throws {
        try await eventually("the main loop hangs", within: .seconds(20)) {
            do {
                _ = try await process.monitor.queryStatus(deadline: .milliseconds(500))
                return false
            } catch let error as QMPError where error.code == .deadline {
                return true
            }
        }
    }

    static func expectWhole(_ mover: Mover, over link: CuttableLink, boot: String?) async throws {
        link.narrow(to: nil)
        try await eventually("all memory is fetched", within: .seconds(90)) { try await sourcesSide(mover).postCopy == .complete }
        try await eventually("the target knows", within: .seconds(10)) {
            try await mover.target.orders.incoming(mover.server, mover.key, seen: 0, waitMS: 0).postCopy == .complete
        }
        let there = try await mover.target.orders.guest(mover.server)
        #expect(there.summary.status == .running)
        let sweeps = TestGuest.tick(there.consoleLog)?["sweeps"].flatMap { Int($0) } ?? 0
        try await eventually("it has verified its memory since") {
            (TestGuest.tick(there.consoleLog)?["sweeps"].flatMap { Int($0) } ?? 0) >= sweeps + 2
        }
        #expect(TestGuest.tick(there.consoleLog)?["memerr"] == "0")
        #expect(TestGuest.tick(there.consoleLog)?["boot"] == boot)
        try await mover.source.orders.discard(mover.server, DiscardOrder(epoch: mover.epoch, key: mover.key, end: .source))
        #expect(try await mover.source.orders.host().guests == [])
    }

    @Test func `ends what does not converge, and the source stays until all is fetched`() async throws {
        try await withHosts("a", "b") { hosts in
            let (mover, link, boot, _) = try await Self.begin(hosts)
            defer { link.end() }
            let report = try await Self.sourcesSide(mover)
            #expect(report.postCopy == .fetching)
            #expect(report.events.contains { $0.reason.code == .postCopy })
            #expect(report.blackout != nil)
            let early = await #expect(throws: AgentProblem.self) {
                try await hosts[0].orders.discard(mover.server, DiscardOrder(epoch: mover.epoch, key: mover.key, end: .source))
            }
            #expect(early?.kind == .conflict)
            let back = await #expect(throws: AgentProblem.self) {
                try await hosts[0].orders.abort(mover.server, AbortOrder(epoch: mover.epoch, key: mover.key, targetRefused: false))
            }
            #expect(back?.kind == .owned)
            try await Self.expectWhole(mover, over: link, boot: boot)
        }
    }

    @Test func `is joined anew after cuts, by agents that were restarted meanwhile`() async throws {
        try await withHosts("a", "b") { hosts in
            let (mover, link, boot, endpoints) = try await Self.begin(hosts)
            defer { link.end() }
            // An agent cannot come to a QEMU whose main loop waits for memory: the guest stands still meanwhile.
            try await #require(await hosts[1].agent.known(mover.server).process).monitor.stop()
            link.cut()
            try await eventually("both ends know of the cut", within: .seconds(30)) {
                let there = try await hosts[1].orders.incoming(mover.server, mover.key, seen: 0, waitMS: 0)
                return try await Self.sourcesSide(mover).postCopy == .interrupted && there.postCopy == .interrupted
            }
            let cut = await #expect(throws: AgentProblem.self) {
                try await hosts[0].orders.discard(mover.server, DiscardOrder(epoch: mover.epoch, key: mover.key, end: .source))
            }
            #expect(cut?.kind == .conflict)
            for host in hosts {
                try await host.stop()
                try await host.start()
            }
            // The agents of a test come back at other addresses.
            try await mover.sendMemory(endpoints, bandwidth: Self.slow)
            link.mend()
            try await eventually("it is joined", within: .seconds(30)) {
                try await Self.sourcesSide(mover).events.contains { $0.reason.message.contains("joined again") }
            }
            try await #require(await hosts[1].agent.known(mover.server).process).monitor.cont()
            // And once more, while there is still something to fetch.
            link.cut()
            link.mend()
            try await Self.expectWhole(mover, over: link, boot: boot)
        }
    }

    @Test func `is joined anew by a relay while QEMU's main loop waits for memory, also a second time`() async throws {
        try await withHosts("a", "b") { hosts in
            let (mover, link, boot, _) = try await Self.begin(hosts)
            defer { link.end() }
            let process = try #require(await hosts[1].agent.known(mover.server).process)
            link.cut()
            try await eventually("the source knows of the cut", within: .seconds(30)) {
                try await Self.sourcesSide(mover).postCopy == .interrupted
            }
            async let read: Void = Self.readMemory(process)
            try await Self.hangs(process)
            for time in 1...2 {
                link.mend()
                try await eventually("it is joined", within: .seconds(30)) {
                    try await Self.sourcesSide(mover).events.count { $0.reason.message.contains("joined again") } == time
                }
                if time == 1 { link.cut() }
            }
            try await read
            try await Self.expectWhole(mover, over: link, boot: boot)
        }
    }

    /// QEMU 7.2 shakes hands on its main loop, which must not wait for memory then: the guest stands still meanwhile.
    @Test func `goes encrypted, a cut included`() async throws {
        try await withHosts("a", "b") { hosts in
            let (mover, link, boot, _) = try await Self.begin(hosts, streams: StreamOptions(isEncrypted: true, isPostCopyAllowed: true))
            defer { link.end() }
            let process = try #require(await hosts[1].agent.known(mover.server).process)
            try await process.monitor.stop()
            link.cut()
            try await eventually("the source knows of the cut", within: .seconds(30)) {
                try await Self.sourcesSide(mover).postCopy == .interrupted
            }
            link.mend()
            try await eventually("it is joined", within: .seconds(60)) {
                try await Self.sourcesSide(mover).events.contains { $0.reason.message.contains("joined again") }
            }
            try await process.monitor.cont()
            try await Self.expectWhole(mover, over: link, boot: boot)
        }
    }

    @Test(arguments: [false, true])
    func `says that memory is lost when the source's QEMU ends too soon`(doesMainLoopHang: Bool) async throws {
        try await withHosts("a", "b") { hosts in
            let (mover, link, _, _) = try await Self.begin(hosts)
            defer { link.end() }
            let process = try #require(await hosts[1].agent.known(mover.server).process)
            // Else all may be fetched before the main loop was seen to hang.
            if doesMainLoopHang { link.narrow(to: 250_000) }
            let read = doesMainLoopHang ? Task { try await Self.readMemory(process) } : nil
            if doesMainLoopHang { try await Self.hangs(process) }
            let pid = try #require(try await hosts[0].orders.host().guests.first?.pid)
            kill(pid, SIGKILL)
            link.narrow(to: nil)
            try await eventually("the source says so", within: .seconds(20)) { try await Self.sourcesSide(mover).postCopy == .lost }
            #expect(try await Self.sourcesSide(mover).reason?.code == .guestStopped)
            let target = hosts[1]
            try await eventually("the target waits", within: .seconds(20)) {
                try await target.orders.incoming(mover.server, mover.key, seen: 0, waitMS: 0).postCopy == .interrupted
            }
            #expect(try await target.orders.stop(mover.server, StopOrder(epoch: Epoch(11), graceMS: 0)).summary.status == .stopped)
            // It waited for memory that never came.
            if let read { await #expect(throws: QMPError.self) { try await read.value } }
            try await eventually("the target knows", within: .seconds(20)) {
                try await target.orders.incoming(mover.server, mover.key, seen: 0, waitMS: 0).postCopy == .lost
            }
            // What is left of it starts again from its disks, which are whole.
            let started = try await target.orders.start(mover.server, StartOrder(epoch: Epoch(12)))
            #expect(started.summary.status == .running)
            try await hosts[0].orders.discard(mover.server, DiscardOrder(epoch: Epoch(12), key: mover.key, end: .source))
        }
    }

    @Test func `a target that does not say whether post-copy has begun may hold the only copy, and is kept`() async throws {
        try await withHosts("a", "b") { hosts in
            let server = ServerID.unique()
            _ = try await boot(TestGuest.description(server), on: hosts[0])
            var mover = Mover(server, from: hosts[0], to: hosts[1])
            mover.streams = StreamOptions(isPostCopyAllowed: true)
            _ = try await mover.prepare()
            let pid = try #require(try await hosts[1].orders.host().guests.first?.pid)
            kill(pid, SIGSTOP)
            defer { kill(pid, SIGCONT) }
            let order = RefuseOrder(epoch: mover.epoch, key: mover.key, isFinal: false)
            let problem = try await refusal { _ = try await hosts[1].orders.refuse(server, order) }
            #expect(problem?.kind == .conflict && problem?.reason.message.contains("does not say") == true)
            #expect(isAlive(pid))
            kill(pid, SIGCONT)
            #expect(try await hosts[1].orders.refuse(server, order).phase == .refused)
            #expect(!isAlive(pid))
        }
    }

    @Test func `says that memory is lost when the target's QEMU ends too soon`() async throws {
        try await withHosts("a", "b") { hosts in
            let (mover, link, _, _) = try await Self.begin(hosts)
            defer { link.end() }
            let pid = try #require(try await hosts[1].orders.host().guests.first?.pid)
            kill(pid, SIGKILL)
            try await eventually("both say so", within: .seconds(30)) {
                let there = try await hosts[1].orders.incoming(mover.server, mover.key, seen: 0, waitMS: 0)
                return try await Self.sourcesSide(mover).postCopy == .lost && there.postCopy == .lost
            }
            try await hosts[0].orders.discard(mover.server, DiscardOrder(epoch: mover.epoch, key: mover.key, end: .source))
            #expect(try await hosts[0].orders.host().guests == [])
        }
    }
}
