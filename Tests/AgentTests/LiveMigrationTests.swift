import AgentAPI
import Fleet
import Foundation
import Glibc
import QMP
import Testing

@testable import Agent
@testable import Hypervisor

/// The test as the worker that drives two agents.
struct Mover {
    let source: TestHost
    let target: TestHost
    let server: ServerID
    let key: AttemptKey
    var epoch = Epoch(10)
    var streams = StreamOptions.plain
    var keepsFailed = false

    init(_ server: ServerID, from source: TestHost, to target: TestHost, attempt: Int = 1, migration: MigrationID = .unique()) {
        self.server = server
        self.source = source
        self.target = target
        self.key = AttemptKey(migration: migration, attempt: attempt)
    }

    @discardableResult
    func prepare() async throws -> Endpoints {
        let description = try await source.orders.guest(server).description
        let report = try await target.orders.prepare(
            server,
            PrepareOrder(
                epoch: epoch, key: key, description: description, source: source.name, sharedDisks: Self.shared(description),
                streams: streams, keepsFailed: keepsFailed))
        guard let endpoints = report.endpoints else { throw TestFailure("the target is not prepared: \(report)") }
        return endpoints
    }

    func mirror(_ endpoints: Endpoints, bandwidth: Int64? = nil) async throws {
        let shared = Self.shared(try await source.orders.guest(server).description)
        _ = try await source.orders.mirror(
            server,
            MirrorOrder(
                epoch: epoch, key: key, target: endpoints, bandwidth: bandwidth, sharedDisks: shared, streams: streams))
    }

    static func shared(_ description: GuestDescription) -> [String] {
        description.disks.filter { $0.storage == "shared" }.map(\.name)
    }

    func sendMemory(_ endpoints: Endpoints, bandwidth: Int64? = nil, rules: ConvergenceRules = ConvergenceRules()) async throws {
        _ = try await source.orders.sendMemory(
            server,
            MemoryOrder(
                epoch: epoch, key: key, target: endpoints, targetAgentURL: target.url, bandwidth: bandwidth, rules: rules))
    }

    /// Waits by long polls until the source's end is in one of these phases.
    @discardableResult
    func outgoing(_ phases: OutgoingReport.Phase..., within deadline: Duration = .seconds(60)) async throws -> OutgoingReport {
        let end = ContinuousClock.now.advanced(by: deadline)
        var seen: Int64 = 0
        while true {
            let report = try await source.orders.outgoing(server, key, seen: seen, waitMS: 2000)
            if phases.contains(report.phase) { return report }
            guard ContinuousClock.now < end, report.phase != .failed else { throw TestFailure("waiting for \(phases): \(report)") }
            seen = report.version
        }
    }

    @discardableResult
    func incoming(_ phases: IncomingReport.Phase..., within deadline: Duration = .seconds(60)) async throws -> IncomingReport {
        let end = ContinuousClock.now.advanced(by: deadline)
        var seen: Int64 = 0
        while true {
            let report = try await target.orders.incoming(server, key, seen: seen, waitMS: 2000)
            if phases.contains(report.phase) { return report }
            guard ContinuousClock.now < end else { throw TestFailure("waiting for \(phases): \(report)") }
            seen = report.version
        }
    }
}

/// A guest that runs on the first host and has ticked.
func boot(_ description: GuestDescription, on host: TestHost) async throws -> GuestReport {
    _ = try await host.orders.define(description.server, DefineOrder(epoch: Epoch(1), description: description))
    let report = try await host.orders.start(description.server, StartOrder(epoch: Epoch(2)))
    try await eventually("the guest ticks") { TestGuest.tick(report.consoleLog) != nil }
    return report
}

@Suite(.serialized, .timeLimit(.minutes(5)))
struct LiveMigrationTests {
    /// As QEMU does it to one whose disk is full.
    @Test func `a guest that is stopped while its memory moves has not switched over`() async throws {
        try await withHosts("a", "b") { hosts in
            let server = ServerID.unique()
            _ = try await boot(TestGuest.description(server), on: hosts[0])
            let mover = Mover(server, from: hosts[0], to: hosts[1])
            let endpoints = try await mover.prepare()
            try await mover.mirror(endpoints)
            try await mover.outgoing(.mirrored)
            try await mover.sendMemory(endpoints, bandwidth: 4_000_000)
            let moving = try await mover.outgoing(.memory)
            let process = try #require(await hosts[0].agent.known(server).process)
            try await process.monitor.stop()
            var report = moving
            try await eventually("memory moves on") {
                report = try await mover.source.orders.outgoing(server, mover.key, seen: 0, waitMS: 0)
                return report.progress.memoryTransferred > moving.progress.memoryTransferred + 4_000_000
            }
            #expect(report.phase == .memory)
            try await process.monitor.cont()
            try await mover.sendMemory(endpoints)
            try await mover.outgoing(.confirmed)
            #expect(try await hosts[1].orders.guest(server).summary.status == .running)
        }
    }

    @Test func `moves a running guest that finds its memory and its disk whole`() async throws {
        try await withHosts("a", "b") { hosts in
            let server = ServerID.unique()
            let before = try await boot(TestGuest.description(server, parameters: "godwit.dirty_mb_s=20"), on: hosts[0])
            let mover = Mover(server, from: hosts[0], to: hosts[1])
            let clock = ContinuousClock.now
            let endpoints = try await mover.prepare()
            let prepared = ContinuousClock.now
            try await mover.mirror(endpoints)
            try await mover.outgoing(.mirrored)
            let mirrored = ContinuousClock.now
            // Whoever comes to the memory port by chance becomes nobody's memory.
            let stray = try await StreamSocket.connect(endpoints.address, port: endpoints.memoryPort, deadline: .seconds(2))
            try await stray.send(String(repeating: "x", count: 200))
            try await mover.sendMemory(endpoints)
            let report = try await mover.outgoing(.confirmed)
            let end = ContinuousClock.now
            print("prepare \(prepared - clock), mirror \(mirrored - prepared), memory and switch \(end - mirrored), \(report)")
            let arrived = try await mover.incoming(.running)
            print(arrived)

            let blackout = try #require(report.blackout)
            #expect(
                blackout.lastPassUS + blackout.diskDrainUS + blackout.deviceStateUS + blackout.handoverUS + blackout.resumeUS <= blackout
                    .totalUS + 1)
            let after = try await hosts[1].orders.guest(server)
            #expect(after.summary.status == .running)
            #expect(try await hosts[0].orders.guest(server).summary.status == .handedOver)
            await #expect(throws: AgentProblem.self) { try await hosts[0].orders.start(server, StartOrder(epoch: Epoch(11))) }

            let last = try #require(TestGuest.tick(before.consoleLog))
            try await eventually("it ticks on, and has verified its memory since") {
                guard let tick = TestGuest.tick(after.consoleLog), let sweeps = tick["sweeps"].flatMap({ Int($0) }) else { return false }
                return sweeps >= (last["sweeps"].flatMap { Int($0) } ?? 0) + 2
            }
            let tick = try #require(TestGuest.tick(after.consoleLog))
            #expect(tick["boot"] == last["boot"])
            #expect(tick["memerr"] == "0")
            #expect((tick["record"].flatMap { Int($0) } ?? 0) > (last["record"].flatMap { Int($0) } ?? 0))

            try await hosts[0].orders.discard(server, DiscardOrder(epoch: Epoch(11), key: mover.key, end: .source))
            try await hosts[0].orders.discard(server, DiscardOrder(epoch: Epoch(11), key: mover.key, end: .source))
            #expect(hosts[0].files(under: hosts[0].configuration.storages[0].path) == [])
            #expect(try await hosts[0].orders.host().guests == [])
            #expect(try await hosts[1].orders.stop(server, StopOrder(epoch: Epoch(12), graceMS: 30_000)).summary.status == .stopped)
        }
    }
}

/// Guests of other makes.
@Suite(.serialized, .timeLimit(.minutes(5)))
struct GuestMakeTests {
    static func move(_ description: GuestDescription, _ hosts: [TestHost]) async throws {
        let report = try await boot(description, on: hosts[0])
        let mover = Mover(description.server, from: hosts[0], to: hosts[1])
        let endpoints = try await mover.prepare()
        try await mover.mirror(endpoints)
        try await mover.outgoing(.mirrored)
        try await mover.sendMemory(endpoints)
        try await mover.outgoing(.confirmed)
        try await eventually("its vCPUs are seen to execute") {
            try await hosts[1].orders.incoming(description.server, mover.key, seen: 0, waitMS: 0).vcpuProgressMS != nil
        }
        let there = try await hosts[1].orders.guest(description.server)
        try await MigrationFaultTests.expectTicking(there.consoleLog, boot: TestGuest.tick(report.consoleLog)?["boot"])
        #expect(there.description == report.description)
        try await hosts[0].orders.discard(description.server, DiscardOrder(epoch: mover.epoch, key: mover.key, end: .source))
        #expect(try await hosts[1].orders.stop(description.server, StopOrder(epoch: Epoch(11), graceMS: 30_000)).summary.status == .stopped)
    }

    @Test func `moves a q35 guest with two SCSI disks`() async throws {
        try await withHosts("a", "b") { hosts in
            try await Self.move(TestGuest.description(.unique(), disks: 2, bus: .virtioSCSI, machine: "q35"), hosts)
        }
    }

    @Test func `moves a guest without disks`() async throws {
        try await withHosts("a", "b") { hosts in
            try await Self.move(TestGuest.description(.unique(), disks: 0, parameters: "godwit.disk=none"), hosts)
        }
    }

    @Test func `moves a UEFI guest with what its firmware remembers`() async throws {
        try await withHosts("a", "b") { hosts in
            let server = ServerID.unique()
            let description = TestGuest.description(server, memoryMB: 256, firmware: .uefi, machine: "q35")
            try await Self.move(description, hosts)
            // OVMF writes its variables at the first boot: what is on the target is the source's, not the template.
            let variables = try Data(contentsOf: URL(fileURLWithPath: "\(hosts[1].configuration.storages[0].path)/\(server)/nvram.fd"))
            let template = try Data(contentsOf: URL(fileURLWithPath: "/usr/share/OVMF/OVMF_VARS_4M.fd"))
            #expect(variables.count == template.count)
            #expect(variables != template)
            // And it boots with them there.
            _ = try await hosts[1].orders.start(server, StartOrder(epoch: Epoch(12)))
            try await eventually("it boots again") { TestGuest.tick(try await hosts[1].orders.guest(server).consoleLog)?["boot"] != nil }
        }
    }
}

/// Whatever dies or is called off meanwhile: one guest runs, or none, never two.
@Suite(.serialized, .timeLimit(.minutes(5)))
struct MigrationFaultTests {
    /// Slow enough to act while memory flows.
    static let slow: Int64 = 4_000_000

    /// Memory flows from a to b.
    static func begin(_ hosts: [TestHost], description: GuestDescription) async throws -> (Mover, Endpoints, GuestReport) {
        let report = try await boot(description, on: hosts[0])
        let mover = Mover(description.server, from: hosts[0], to: hosts[1])
        let endpoints = try await mover.prepare()
        try await mover.mirror(endpoints, bandwidth: slow)
        try await mover.outgoing(.mirrored)
        try await mover.sendMemory(endpoints, bandwidth: slow)
        try await mover.outgoing(.memory)
        try await eventually("memory flows") {
            try await hosts[0].orders.outgoing(description.server, mover.key, seen: 0, waitMS: 0).progress.memoryTransferred > 1 << 20
        }
        return (mover, endpoints, report)
    }

    /// The longest time that the console stands still while the body runs.
    static func longestSilence(_ console: String, _ body: () async throws -> Void) async throws -> Duration {
        let watch = Task {
            var longest = Duration.zero
            var last = TestGuest.tick(console)?["tick"]
            var since = ContinuousClock.now
            while true {
                let tick = TestGuest.tick(console)?["tick"]
                if tick != last {
                    longest = max(longest, since.duration(to: .now))
                    since = .now
                    last = tick
                }
                if Task.isCancelled { return max(longest, since.duration(to: .now)) }
                try? await Task.sleep(for: .milliseconds(10))
            }
        }
        do { try await body() } catch {
            watch.cancel()
            _ = await watch.value
            throw error
        }
        watch.cancel()
        return await watch.value
    }

    static func expectTicking(_ console: String, boot: String?) async throws {
        let before = TestGuest.tick(console)?["tick"]
        try await eventually("the guest ticks on") { TestGuest.tick(console)?["tick"] != before }
        #expect(TestGuest.tick(console)?["boot"] == boot)
        #expect(TestGuest.tick(console)?["memerr"] == "0")
    }

    @Test func `runs on at the source without a pause when the target's QEMU is killed`() async throws {
        try await withHosts("a", "b") { hosts in
            let server = ServerID.unique()
            let (mover, _, report) = try await Self.begin(hosts, description: TestGuest.description(server))
            let pid = try #require(try await hosts[1].orders.host().guests.first?.pid)
            let silence = try await Self.longestSilence(report.consoleLog) {
                kill(pid, SIGKILL)
                try await eventually("the source notices", within: .seconds(20)) {
                    try await hosts[0].orders.outgoing(server, mover.key, seen: 0, waitMS: 0).phase == .failed
                }
                try await Task.sleep(for: .milliseconds(500))
            }
            #expect(silence < .seconds(1))
            let failed = try await hosts[0].orders.outgoing(server, mover.key, seen: 0, waitMS: 0)
            #expect([.connectionLost, .targetLost].contains(failed.reason?.code))
            #expect(try await hosts[0].orders.guest(server).summary.status == .running)
            #expect(
                try await hosts[0].orders.abort(server, AbortOrder(epoch: mover.epoch, key: mover.key, targetRefused: false)).phase
                    == .failed)
            #expect(try await mover.incoming(.failed).endpoints == nil)
            #expect(try await hosts[1].orders.refuse(server, RefuseOrder(epoch: mover.epoch, key: mover.key)).phase == .refused)
            try await hosts[1].orders.discard(server, DiscardOrder(epoch: mover.epoch, key: mover.key, end: .target))
            #expect(hosts[1].files(under: hosts[1].configuration.storages[0].path) == [])

            // The next attempt goes through, from the same source to the same host.
            let again = Mover(server, from: hosts[0], to: hosts[1], attempt: 2, migration: mover.key.migration)
            let endpoints = try await again.prepare()
            try await again.mirror(endpoints)
            try await again.outgoing(.mirrored)
            try await again.sendMemory(endpoints)
            try await again.outgoing(.confirmed)
            try await Self.expectTicking(
                try await hosts[1].orders.guest(server).consoleLog, boot: TestGuest.tick(report.consoleLog)?["boot"])
        }
    }

    @Test func `is called off at once although the target hangs`() async throws {
        try await withHosts("a", "b") { hosts in
            let server = ServerID.unique()
            let (mover, endpoints, report) = try await Self.begin(hosts, description: TestGuest.description(server))
            let pid = try #require(try await hosts[1].orders.host().guests.first?.pid)
            kill(pid, SIGSTOP)
            defer { kill(pid, SIGCONT) }
            // More than the socket's buffers take, and records for the mirror.
            try await mover.sendMemory(endpoints)
            try await Task.sleep(for: .seconds(1))
            let begin = ContinuousClock.now
            let silence = try await Self.longestSilence(report.consoleLog) {
                let off = try await hosts[0].orders.abort(server, AbortOrder(epoch: mover.epoch, key: mover.key, targetRefused: false))
                #expect(off.phase == .aborted)
                #expect(begin.duration(to: .now) < .seconds(5))
                try await Task.sleep(for: .milliseconds(500))
            }
            #expect(silence < .seconds(1))
            try await Self.expectTicking(report.consoleLog, boot: TestGuest.tick(report.consoleLog)?["boot"])
            #expect(try await hosts[0].orders.guest(server).summary.status == .running)
            // The target's agent gets rid of a QEMU that answers nothing.
            #expect(try await hosts[1].orders.refuse(server, RefuseOrder(epoch: mover.epoch, key: mover.key)).phase == .refused)
            #expect(!isAlive(pid))
        }
    }

    @Test func `is called off while memory flows`() async throws {
        try await withHosts("a", "b") { hosts in
            let server = ServerID.unique()
            let (mover, _, report) = try await Self.begin(hosts, description: TestGuest.description(server))
            let silence = try await Self.longestSilence(report.consoleLog) {
                let off = try await hosts[0].orders.abort(server, AbortOrder(epoch: mover.epoch, key: mover.key, targetRefused: false))
                #expect(off.phase == .aborted)
                #expect(
                    try await hosts[0].orders.abort(server, AbortOrder(epoch: mover.epoch, key: mover.key, targetRefused: false)).phase
                        == .aborted)
                try await Task.sleep(for: .milliseconds(300))
            }
            #expect(silence < .seconds(1))
            #expect(try await hosts[1].orders.refuse(server, RefuseOrder(epoch: mover.epoch, key: mover.key)).phase == .refused)
            try await hosts[1].orders.discard(server, DiscardOrder(epoch: mover.epoch, key: mover.key, end: .target))
            // What was refused is refused for ever.
            let description = try await hosts[0].orders.guest(server).description
            let late = await #expect(throws: AgentProblem.self) {
                try await hosts[1].orders.prepare(
                    server, PrepareOrder(epoch: mover.epoch, key: mover.key, description: description, source: "a"))
            }
            #expect(late?.kind == .conflict)
            #expect(try await hosts[1].orders.incoming(server, mover.key, seen: 0, waitMS: 0).phase == .refused)
            #expect(try await hosts[1].orders.host().guests == [])
        }
    }

    @Test func `goes on where it was when both agents are restarted`() async throws {
        try await withHosts("a", "b") { hosts in
            let server = ServerID.unique()
            let (mover, endpoints, report) = try await Self.begin(hosts, description: TestGuest.description(server))
            let sent = try await hosts[0].orders.outgoing(server, mover.key, seen: 0, waitMS: 0).progress.memoryTransferred
            for host in hosts {
                try await host.stop()
                try await host.start()
            }
            let found = try await hosts[0].orders.outgoing(server, mover.key, seen: 0, waitMS: 0)
            #expect(found.phase == .memory)
            try await eventually("it counts on") {
                try await hosts[0].orders.outgoing(server, mover.key, seen: 0, waitMS: 0).progress.memoryTransferred >= sent
            }
            // The next worker holds a newer epoch, and lifts the limit.
            var next = mover
            next.epoch = Epoch(11)
            try await next.sendMemory(endpoints)
            try await next.outgoing(.confirmed)
            try await next.incoming(.running)
            try await Self.expectTicking(
                try await hosts[1].orders.guest(server).consoleLog, boot: TestGuest.tick(report.consoleLog)?["boot"])
        }
    }

    @Test func `comes back from a switchover that nobody finished`() async throws {
        try await withHosts("a", "b") { hosts in
            let server = ServerID.unique()
            let (mover, endpoints, report) = try await Self.begin(hosts, description: TestGuest.description(server))
            // With the limit off QEMU soon stops the guest for the last pass, and the agent is not there.
            try await hosts[0].stop()
            let boot = TestGuest.tick(report.consoleLog)?["boot"]
            try await hosts[0].withMonitor(of: server) { monitor in
                try await monitor.migrateSetParameters(["max-bandwidth": 0, "downtime-limit": 2000])
                try await eventually("QEMU waits before the switchover") { try await monitor.queryMigrate().status == "pre-switchover" }
            }
            try await hosts[0].start()
            try await eventually("the agent takes it back") {
                try await hosts[0].orders.outgoing(server, mover.key, seen: 0, waitMS: 1000).phase == .failed
            }
            #expect(try await hosts[0].orders.outgoing(server, mover.key, seen: 0, waitMS: 0).reason?.code == .switchoverTimeout)
            #expect(try await hosts[0].orders.guest(server).summary.status == .running)
            try await Self.expectTicking(report.consoleLog, boot: boot)
            _ = endpoints
        }
    }

    /// The source has handed over, and its target's agent is not reached: it came back at another address.
    static func handOverIntoTheVoid(_ hosts: [TestHost]) async throws -> (Mover, GuestReport) {
        let server = ServerID.unique()
        let (mover, endpoints, report) = try await begin(hosts, description: TestGuest.description(server))
        try await hosts[1].stop()
        _ = try await hosts[0].orders.sendMemory(
            server,
            MemoryOrder(
                epoch: mover.epoch, key: mover.key, target: endpoints, targetAgentURL: "https://127.0.0.1:1", bandwidth: nil,
                rules: ConvergenceRules()))
        try await mover.outgoing(.handedOver)
        let problem = await #expect(throws: AgentProblem.self) {
            try await hosts[0].orders.abort(server, AbortOrder(epoch: mover.epoch, key: mover.key, targetRefused: false))
        }
        #expect(problem?.kind == .owned)
        #expect(try await hosts[0].orders.guest(server).summary.status == .handedOver)
        try await hosts[0].stop()
        try await hosts[0].start()
        try await hosts[1].start()
        try await mover.incoming(.received)
        return (mover, report)
    }

    @Test func `comes back after the handover once the target has refused`() async throws {
        try await withHosts("a", "b") { hosts in
            let (mover, report) = try await Self.handOverIntoTheVoid(hosts)
            #expect(try await hosts[1].orders.refuse(mover.server, RefuseOrder(epoch: mover.epoch, key: mover.key)).phase == .refused)
            try await hosts[1].stop()
            try await hosts[1].start()
            let late = await #expect(throws: AgentProblem.self) {
                try await hosts[1].orders.handOver(mover.server, HandoverOrder(epoch: mover.epoch, key: mover.key, source: "a"))
            }
            #expect(late?.kind == .conflict)
            let back = try await hosts[0].orders.abort(mover.server, AbortOrder(epoch: mover.epoch, key: mover.key, targetRefused: true))
            #expect(back.phase == .aborted)
            #expect(try await hosts[0].orders.guest(mover.server).summary.status == .running)
            try await Self.expectTicking(report.consoleLog, boot: TestGuest.tick(report.consoleLog)?["boot"])
        }
    }

    @Test func `cannot come back once the target owns`() async throws {
        try await withHosts("a", "b") { hosts in
            let (mover, report) = try await Self.handOverIntoTheVoid(hosts)
            let foreign = await #expect(throws: AgentProblem.self) {
                try await hosts[1].orders.handOver(mover.server, HandoverOrder(epoch: mover.epoch, key: mover.key, source: "c"))
            }
            #expect(foreign?.kind == .forbidden)
            // The worker relays it, twice.
            for _ in 0..<2 {
                let owned = try await hosts[1].orders.handOver(
                    mover.server, HandoverOrder(epoch: mover.epoch, key: mover.key, source: "a"))
                #expect(owned.phase == .running)
            }
            let refusal = await #expect(throws: AgentProblem.self) {
                try await hosts[1].orders.refuse(mover.server, RefuseOrder(epoch: mover.epoch, key: mover.key))
            }
            #expect(refusal?.kind == .owned)
            let discard = await #expect(throws: AgentProblem.self) {
                try await hosts[1].orders.discard(mover.server, DiscardOrder(epoch: mover.epoch, key: mover.key, end: .target))
            }
            #expect(discard?.kind == .conflict)
            #expect(try await hosts[0].orders.guest(mover.server).summary.status == .handedOver)
            try await Self.expectTicking(
                try await hosts[1].orders.guest(mover.server).consoleLog, boot: TestGuest.tick(report.consoleLog)?["boot"])
            try await hosts[0].orders.discard(mover.server, DiscardOrder(epoch: mover.epoch, key: mover.key, end: .source))
            #expect(try await hosts[0].orders.host().guests == [])
        }
    }
}
