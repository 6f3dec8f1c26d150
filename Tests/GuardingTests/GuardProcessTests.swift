import Fleet
import Foundation
import Glibc
import Guarding
import Testing

@testable import Hypervisor

/// The guard as it is run: a process of its own, beside processes that stand for guests.
@Suite(.serialized) struct GuardProcessTests {
    @Test func `marked guests end with the lease, unmarked ones do not, and the gate stays closed until it is renewed`() async throws {
        try await GuardHost.with { host in
            let (marked, other) = (try await host.guest("marked"), try await host.guest("other", isMarked: false))
            try await host.startGuard()
            #expect(host.ask()?.state == .serving && host.ask()?.isArmed == false)
            let until = BootClock.milliseconds + 1500
            #expect(try host.order(1, until: until)?.confirms == true)
            #expect(marked.isRunning)
            try await eventually("the marked guest ends") { !marked.isRunning }
            let late = BootClock.milliseconds - until
            print("guard: the guest was gone \(late) ms after the lease was over")
            #expect((0..<2000).contains(late))
            #expect(other.isRunning && host.ask()?.isOver == true)
            #expect(FileManager.default.fileExists(atPath: host.paths("marked").ended))
            try await eventually("the gate is closed") { try Gate.take(host.files.gate, isAlone: false) == nil }
            // One that an agent was about to start when it was killed.
            let straggler = try await host.guest("straggler")
            try await eventually("what comes late ends too") { !straggler.isRunning }
            #expect(try host.order(2, until: BootClock.milliseconds + 60_000)?.confirms == true)
            try await eventually("the gate is open") { try Gate.take(host.files.gate, isAlone: false) != nil }
            let next = try await host.guest("next")
            try await Task.sleep(for: .milliseconds(1500))
            #expect(next.isRunning, "a lease that is held ends nobody")
        }
    }

    @Test func `a guard that is told to end stays until it is released`() async throws {
        try await GuardHost.with { host in
            let guest = try await host.guest("g")
            let guardian = try await host.startGuard()
            #expect(try host.order(1, until: BootClock.milliseconds + 60_000)?.confirms == true)
            kill(guardian.processIdentifier, SIGTERM)
            try await eventually("it leaves") { host.ask()?.state == .leaving }
            #expect(try host.order(2, until: BootClock.milliseconds + 90_000)?.confirms == false)
            #expect(guardian.isRunning)
            #expect(try host.order(3, until: nil)?.isArmed == false)
            try await eventually("it ends") { !guardian.isRunning }
            #expect(guardian.terminationStatus == 0 && guest.isRunning)
        }
    }

    @Test func `a guard that is told to end and not released ends the guests first`() async throws {
        try await GuardHost.with { host in
            let guest = try await host.guest("g")
            let guardian = try await host.startGuard()
            #expect(try host.order(1, until: BootClock.milliseconds + 1500)?.confirms == true)
            kill(guardian.processIdentifier, SIGTERM)
            try await eventually("it ends") { !guardian.isRunning }
            #expect(!guest.isRunning && guardian.terminationStatus == 0)
        }
    }

    @Test func `told to end while the host is being shut down it ends the guests at once`() async throws {
        try await GuardHost.with { host in
            let guest = try await host.guest("g")
            let guardian = try await host.startGuard()
            #expect(try host.order(1, until: BootClock.milliseconds + 60_000)?.confirms == true)
            try host.files.announceShutdown()
            try await Task.sleep(for: .milliseconds(600))
            #expect(guest.isRunning, "announced is not done")
            kill(guardian.processIdentifier, SIGTERM)
            try await eventually("it ends", within: .seconds(10)) { !guardian.isRunning }
            #expect(!guest.isRunning)
            #expect(try host.files.readBook().standing(at: BootClock.now()).isOver)
        }
    }

    @Test func `one that was killed is followed by one that keeps its promise`() async throws {
        try await GuardHost.with { host in
            let guest = try await host.guest("g")
            let first = try await host.startGuard()
            #expect(try host.order(1, until: BootClock.milliseconds + 1000)?.confirms == true)
            kill(first.processIdentifier, SIGKILL)
            try await eventually("it is gone") { !first.isRunning }
            try await eventually("the lease is over") { try host.files.readBook().standing(at: BootClock.now()).isOver }
            #expect(guest.isRunning && host.ask() == nil)
            try await host.startGuard()
            try await eventually("the guest ends") { !guest.isRunning }
        }
    }

    @Test func `an agent that does not let go of the gate is killed`() async throws {
        try await GuardHost.with { host in
            // What stands for the agent holds the gate and says nothing.
            let agent = try host.spawn("flock", ["--no-fork", "--shared", host.files.gate, "sleep", "600"])
            try await eventually("the gate is held") { try Gate.take(host.files.gate, isAlone: true) == nil }
            let start = try #require(try KernelProcess.startTime(of: agent.processIdentifier))
            try Data("\(agent.processIdentifier) \(start)\n".utf8).write(to: URL(filePath: host.files.agent))
            let guest = try await host.guest("g")
            try await host.startGuard()
            #expect(try host.order(1, until: BootClock.milliseconds + 500)?.confirms == true)
            try await eventually("the guest ends") { !guest.isRunning }
            #expect(agent.isRunning, "guests end at once, whoever holds the gate")
            try await eventually("the agent is killed") { !agent.isRunning }
        }
    }

    @Test func `a second guard of one host is refused`() async throws {
        try await GuardHost.with { host in
            try await host.startGuard()
            let second = try host.spawn(GuardHost.program, ["--config", host.configuration])
            try await eventually("it ends") { !second.isRunning }
            #expect(second.terminationStatus == 1)
            #expect(host.ask()?.state == .serving, "the first goes on")
        }
    }

    @Test func `a watchdog that cannot be had is told of, and no guard runs without it`() async throws {
        try await GuardHost.with(watchdog: "/dev/null") { host in
            let guardian = try host.spawn(GuardHost.program, ["--config", host.configuration])
            try await eventually("it ends") { !guardian.isRunning }
            #expect(guardian.terminationStatus == 1 && host.ask() == nil)
        }
    }
}

func eventually(_ what: String, within limit: Duration = .seconds(20), _ condition: () throws -> Bool) async throws {
    let end = ContinuousClock.now + limit
    while try !condition() {
        guard ContinuousClock.now < end else { throw TooLate(what: what) }
        try await Task.sleep(for: .milliseconds(10))
    }
}

struct TooLate: Error {
    let what: String
}
