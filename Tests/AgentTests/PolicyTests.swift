import AgentAPI
import Fleet
import Foundation
import Hypervisor
import QMP
import Testing

@testable import Agent
@testable import Measuring

/// What the source's agent does by itself about a guest that does not converge, and how it keeps to its bandwidth: with a real QEMU.
@Suite(.serialized, .timeLimit(.minutes(5)))
struct PolicyTests {
    /// Rounds of 16 MB, which take 0.8 s at ``bandwidth``, and all of it is dirty again each time.
    static let busy = "godwit.dirty_mb_s=80 godwit.dirty_set_mb=16"
    static let bandwidth: Int64 = 20_000_000

    /// Memory of a busy guest flows from a to b under these rules.
    static func begin(
        _ hosts: [TestHost], _ rules: ConvergenceRules, bandwidth: Int64? = bandwidth, parameters: String = busy
    ) async throws -> (Mover, Endpoints, GuestReport) {
        let report = try await boot(TestGuest.description(.unique(), parameters: parameters), on: hosts[0])
        let mover = Mover(report.description.server, from: hosts[0], to: hosts[1])
        let endpoints = try await mover.prepare()
        try await mover.mirror(endpoints, bandwidth: bandwidth)
        try await mover.outgoing(.mirrored)
        try await mover.sendMemory(endpoints, bandwidth: bandwidth, rules: rules)
        return (mover, endpoints, report)
    }

    static func look(_ mover: Mover) async throws -> OutgoingReport {
        try await mover.source.orders.outgoing(mover.server, mover.key, seen: 0, waitMS: 0)
    }

    @Test func `gives up a guest that does not converge, with a sentence, and the guest runs on`() async throws {
        try await withHosts("a", "b") { hosts in
            let (mover, _, report) = try await Self.begin(hosts, ConvergenceRules(downtimeLimitMS: 60, autoConverge: false))
            try await eventually("it is given up") { try await Self.look(mover).phase == .failed }
            let end = try await Self.look(mover)
            print(end.reason?.message ?? "no reason", end.events.map(\.reason.message))
            #expect(end.reason?.code == .didNotConverge)
            #expect(end.reason?.message.contains("MB/s") == true && end.reason?.message.contains("--quickly-finish") == true)
            #expect(end.events.map { $0.numbers["downtimeLimitMS"] } == [30, 60])
            #expect(try await hosts[0].orders.guest(mover.server).summary.status == .running)
            try await MigrationFaultTests.expectTicking(report.consoleLog, boot: TestGuest.tick(report.consoleLog)?["boot"])
        }
    }

    @Test func `quickly-finish raises the limit to the estimate, says so, and the guest is across`() async throws {
        try await withHosts("a", "b") { hosts in
            let (mover, _, report) = try await Self.begin(
                hosts, ConvergenceRules(downtimeLimitMS: 60, quicklyFinish: true, maxDowntimeMS: 5000, autoConverge: false))
            let end = try await mover.outgoing(.confirmed, within: .seconds(120))
            print(end.events.map(\.reason.message), end.blackout?.totalUS ?? 0)
            let raises = end.events.filter { $0.reason.message.hasPrefix("Quickly-finish") }
            #expect(!raises.isEmpty && raises.allSatisfy { ($0.numbers["downtimeLimitMS"] ?? 0) <= 5000 })
            #expect(end.events.prefix(2).map { $0.numbers["downtimeLimitMS"] } == [30, 60])
            try await MigrationFaultTests.expectTicking(
                hosts[1].orders.guest(mover.server).consoleLog, boot: TestGuest.tick(report.consoleLog)?["boot"])
        }
    }

    @Test func `auto-converge is on by default, and each of its steps is told`() async throws {
        try await withHosts("a", "b") { hosts in
            let (mover, _, _) = try await Self.begin(hosts, ConvergenceRules(downtimeLimitMS: 30))
            try await eventually("two steps are told") {
                try await Self.look(mover).events.filter { $0.reason.code == .throttle }.count >= 2
            }
            let steps = try await Self.look(mover).events.filter { $0.reason.code == .throttle }.compactMap { $0.numbers["throttle"] }
            #expect(steps.prefix(2) == [20, 30])
            // Another attempt that does not want it is without it.
            _ = try await hosts[0].orders.abort(mover.server, AbortOrder(epoch: mover.epoch, key: mover.key, targetRefused: false))
            let again = Mover(mover.server, from: hosts[0], to: hosts[1], attempt: 2, migration: mover.key.migration)
            let endpoints = try await again.prepare()
            try await again.mirror(endpoints)
            try await again.outgoing(.mirrored)
            try await again.sendMemory(
                endpoints, bandwidth: Self.bandwidth, rules: ConvergenceRules(downtimeLimitMS: 1000, autoConverge: false))
            let end = try await again.outgoing(.confirmed)
            #expect(!end.events.contains { $0.reason.code == .throttle })
        }
    }

    @Test func `bandwidth and downtime limit set in flight are in force within a second`() async throws {
        try await withHosts("a", "b") { hosts in
            let rules = ConvergenceRules(downtimeLimitMS: 30, autoConverge: false)
            let (mover, endpoints, _) = try await Self.begin(hosts, rules, bandwidth: 2_000_000)
            try await mover.outgoing(.memory)
            func rate(over time: Duration) async throws -> Int64 {
                let (before, clock) = (try await Wire.sent(to: endpoints.memoryPort), ContinuousClock.now)
                try await Task.sleep(for: time)
                return (try await Wire.sent(to: endpoints.memoryPort) - before) * 1000 / clock.duration(to: .now).inMilliseconds
            }
            let slow = try await rate(over: .seconds(3))
            try await mover.sendMemory(endpoints, bandwidth: 20_000_000, rules: rules)
            try await Task.sleep(for: .seconds(1))
            let fast = try await rate(over: .seconds(2))
            print("2 MB/s asked: \(slow) B/s; 20 MB/s asked: \(fast) B/s")
            #expect(slow < 2_200_000 && fast > 5_000_000 && fast < 21_500_000)
            // A limit by hand stands at once, and lets it end.
            try await mover.sendMemory(
                endpoints, bandwidth: 20_000_000, rules: ConvergenceRules(downtimeLimitMS: 4000, autoConverge: false))
            let end = try await mover.outgoing(.confirmed)
            #expect(end.events.last?.numbers["downtimeLimitMS"] == 4000)
            #expect(end.events.last?.reason.message.contains("as asked") == true)
        }
    }

    @Test func `disk and memory together keep to one bandwidth on the wire, and use it`() async throws {
        try await withHosts("a", "b") { hosts in
            let budget: Int64 = 10_000_000
            let (mover, endpoints, _) = try await Self.begin(
                hosts, ConvergenceRules(downtimeLimitMS: 30, autoConverge: false), bandwidth: budget,
                parameters: Self.busy + " godwit.records_s=60")
            try await mover.outgoing(.memory)
            let start = ContinuousClock.now
            var samples: [(ms: Int64, disk: Int64, memory: Int64)] = []
            while start.duration(to: .now) < .seconds(15) {
                async let disk = Wire.sent(to: endpoints.nbdPort)
                async let memory = Wire.sent(to: endpoints.memoryPort)
                samples.append((start.duration(to: .now).inMilliseconds, try await disk, try await memory))
                try await Task.sleep(for: .milliseconds(250))
            }
            let windows = samples.indices.compactMap { first -> Int64? in
                let from = samples[first]
                guard let to = samples[first...].first(where: { $0.ms - from.ms >= 3000 }) else { return nil }
                return (to.disk - from.disk + to.memory - from.memory) * 1000 / (to.ms - from.ms)
            }
            let (first, last) = (try #require(samples.first), try #require(samples.last))
            print(
                "windows of 3 s: \(windows.min() ?? 0) to \(windows.max() ?? 0) B/s; disk \(last.disk - first.disk), memory \(last.memory - first.memory) bytes in \(last.ms - first.ms) ms"
            )
            #expect(windows.count > 20)
            // QEMU counts in slices of 100 ms, of which a window may see a part too many at each end.
            #expect(windows.allSatisfy { $0 <= budget * (3000 + 2 * 100) / 3000 })
            #expect(last.disk > first.disk && last.memory > first.memory)
            #expect((windows.max() ?? 0) > budget / 2)
            _ = try await hosts[0].orders.abort(mover.server, AbortOrder(epoch: mover.epoch, key: mover.key, targetRefused: false))
        }
    }

    @Test func `a policy goes on after its agent died, and tells nothing twice`() async throws {
        try await withHosts("a", "b") { hosts in
            let (mover, _, _) = try await Self.begin(hosts, ConvergenceRules(downtimeLimitMS: 120, autoConverge: false))
            try await eventually("it is raised") { try await Self.look(mover).events.count >= 2 }
            try await hosts[0].stop()
            try await hosts[0].start()
            try await eventually("it is raised to the end") {
                try await Self.look(mover).events.last?.numbers["downtimeLimitMS"] == 120
            }
            #expect(try await Self.look(mover).events.map { $0.numbers["downtimeLimitMS"] } == [30, 60, 120])
            _ = try await hosts[0].orders.abort(mover.server, AbortOrder(epoch: mover.epoch, key: mover.key, targetRefused: false))
        }
    }

    @Test func `comes back at once to where it left from, whose leftovers nobody has cleaned up`() async throws {
        try await withHosts("a", "b") { hosts in
            let report = try await boot(TestGuest.description(.unique()), on: hosts[0])
            // Its console goes with what it left.
            let born = TestGuest.tick(report.consoleLog)?["boot"]
            let there = Mover(report.description.server, from: hosts[0], to: hosts[1])
            let endpoints = try await there.prepare()
            try await there.mirror(endpoints)
            try await there.outgoing(.mirrored)
            try await there.sendMemory(endpoints)
            try await there.outgoing(.confirmed)
            #expect(try await hosts[0].orders.guest(there.server).summary.status == .handedOver)
            // Another attempt of the same migration is no proof that this one was committed.
            let description = report.description
            let again = AttemptKey(migration: there.key.migration, attempt: 2)
            let refusal = await #expect(throws: AgentProblem.self) {
                try await hosts[0].orders.prepare(
                    there.server, PrepareOrder(epoch: there.epoch, key: again, description: description, source: "b"))
            }
            #expect(refusal?.kind == .conflict)
            var back = Mover(there.server, from: hosts[1], to: hosts[0])
            back.epoch = Epoch(20)
            let second = try await back.prepare()
            try await back.mirror(second)
            try await back.outgoing(.mirrored)
            try await back.sendMemory(second)
            try await back.outgoing(.confirmed)
            // The cleanup that comes now is of an older epoch and touches nothing.
            let late = await #expect(throws: AgentProblem.self) {
                try await hosts[0].orders.discard(there.server, DiscardOrder(epoch: there.epoch, key: there.key, end: .source))
            }
            #expect(late?.kind == .staleEpoch)
            try await MigrationFaultTests.expectTicking(
                hosts[0].orders.guest(there.server).consoleLog, boot: born)
        }
    }

    @Test(arguments: [OutgoingReport.Phase.mirroring, .memory])
    func `called off, all is clean within moments, and a second try begins at once`(phase: OutgoingReport.Phase) async throws {
        try await withHosts("a", "b") { hosts in
            let report = try await boot(TestGuest.description(.unique(), parameters: Self.busy), on: hosts[0])
            let mover = Mover(report.description.server, from: hosts[0], to: hosts[1])
            let endpoints = try await mover.prepare()
            // A disk of a few blocks takes some seconds at 20 kB/s.
            try await mover.mirror(endpoints, bandwidth: phase == .mirroring ? 20_000 : nil)
            if phase == .memory {
                try await mover.outgoing(.mirrored)
                try await mover.sendMemory(endpoints, bandwidth: Self.bandwidth, rules: ConvergenceRules(downtimeLimitMS: 30))
            }
            try await mover.outgoing(phase)
            let clock = ContinuousClock.now
            let aborted = try await hosts[0].orders.abort(
                mover.server, AbortOrder(epoch: mover.epoch, key: mover.key, targetRefused: false))
            #expect(aborted.phase == .aborted)
            _ = try await hosts[1].orders.refuse(mover.server, RefuseOrder(epoch: mover.epoch, key: mover.key))
            try await hosts[1].orders.discard(mover.server, DiscardOrder(epoch: mover.epoch, key: mover.key, end: .target))
            print("called off in \(phase): \(clock.duration(to: .now))")
            #expect(clock.duration(to: .now) < .seconds(5))
            #expect(hosts[1].files(under: hosts[1].configuration.storages[0].path) == [])
            #expect(try await hosts[0].orders.guest(mover.server).summary.status == .running)
            let again = Mover(mover.server, from: hosts[0], to: hosts[1], attempt: 1)
            let second = try await again.prepare()
            try await again.mirror(second)
            try await again.outgoing(.mirrored)
            try await again.sendMemory(second, rules: ConvergenceRules(downtimeLimitMS: 1000))
            try await again.outgoing(.confirmed)
            try await MigrationFaultTests.expectTicking(
                hosts[1].orders.guest(mover.server).consoleLog, boot: TestGuest.tick(report.consoleLog)?["boot"])
        }
    }
}

/// Figures for people.
struct ProgressMeterTests {
    private static func job(_ name: String, offset: Int, of length: Int) throws -> BlockJobInfo {
        try JSONDecoder().decode(
            BlockJobInfo.self,
            from: Data(
                #"{"device": "\#(name)", "type": "mirror", "len": \#(length), "offset": \#(offset), "speed": 0, "ready": false, "status": "running"}"#
                    .utf8))
    }

    @Test func `what was done of a disk stays done when its mirror goes before the others`() throws {
        var meter = ProgressMeter()
        let nothing = try JSONDecoder().decode(MigrationInfo.self, from: Data("{}".utf8))
        var progress = Progress()
        var done: [Int64] = []
        for jobs in [
            [try Self.job("a", offset: 10, of: 100), try Self.job("b", offset: 0, of: 50)],
            [try Self.job("a", offset: 100, of: 100), try Self.job("b", offset: 20, of: 60)],
            [try Self.job("b", offset: 60, of: 60)], [],
        ] {
            progress = meter.read(nothing, jobs, before: progress)
            done.append(progress.diskDone)
            #expect(progress.diskDone <= progress.diskTotal)
        }
        #expect(done == [10, 120, 160, 160] && progress.diskTotal == 160)
    }
}

/// What the kernel says was sent.
enum Wire {
    /// Bytes that all connections to this port on this machine have sent.
    static func sent(to port: Int) async throws -> Int64 {
        let listed = try await Program.run("ss", ["-tinH", "dport = :\(port)"], deadline: .seconds(5)).output
        return listed.split(whereSeparator: \.isWhitespace).reduce(0) { sum, word in
            word.hasPrefix("bytes_sent:") ? sum + (Int64(word.dropFirst("bytes_sent:".count)) ?? 0) : sum
        }
    }
}
