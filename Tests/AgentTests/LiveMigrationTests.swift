import Agent
import AgentAPI
import Fleet
import Foundation
import Testing

/// The test as the worker that drives two agents.
struct Mover {
    let source: TestHost
    let target: TestHost
    let server: ServerID
    let key: AttemptKey
    var epoch = Epoch(10)

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
            server, PrepareOrder(epoch: epoch, key: key, description: description, source: source.name))
        guard let endpoints = report.endpoints else { throw TestFailure("the target is not prepared: \(report)") }
        return endpoints
    }

    func mirror(_ endpoints: Endpoints, bandwidth: Int64? = nil) async throws {
        _ = try await source.orders.mirror(server, MirrorOrder(epoch: epoch, key: key, target: endpoints, bandwidth: bandwidth))
    }

    func sendMemory(_ endpoints: Endpoints, bandwidth: Int64? = nil, limit: Int64 = 300) async throws {
        _ = try await source.orders.sendMemory(
            server,
            MemoryOrder(
                epoch: epoch, key: key, target: endpoints, targetAgentURL: target.url, bandwidth: bandwidth, downtimeLimitMS: limit))
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
