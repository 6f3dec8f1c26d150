import AgentAPI
import Attempts
import Fleet
import Foundation
import Sharing
import Testing

@testable import Agent
@testable import Hypervisor

/// What the agent decides, without a QEMU.
struct DecisionTests {
    static let key = AttemptKey(migration: "m", attempt: 1)
    static let memories: [OutgoingMachine.Memory] = [
        .none, .moving, .preSwitchover, .device, .completed, .cancelling, .cancelled, .failed("cut"), .postCopy, .interrupted, .rejoining,
    ]
    static let mirrors: [OutgoingMachine.Mirror] = [
        .absent, .idle, .copying, .ready, .ended, .broken(Reason(.diskError, "broken")),
    ]

    static func outgoing(_ phase: OutgoingReport.Phase, leave: Bool = false, back: OutgoingReport.Phase? = nil) -> OutgoingRecord {
        var record = OutgoingRecord(
            epoch: Epoch(1), key: key, phase: phase, target: Endpoints(address: "127.0.0.1", nbdPort: 1, memoryPort: 2))
        if leave { record.leave = .init(targetAgentURL: "https://b", rules: ConvergenceRules()) }
        record.unwinding = back.map { .init(phase: $0, reason: nil) }
        return record
    }

    /// Everything that can be seen of a guest with one disk.
    static var sights: [OutgoingMachine.Sight] {
        var all: [OutgoingMachine.Sight] = []
        for memory in memories {
            for mirror in mirrors {
                for alive in [true, false] {
                    for inherited in [true, false] {
                        for window in [nil, Duration.zero, .seconds(6)] {
                            for running in [true, false] {
                                all.append(
                                    .init(
                                        isAlive: alive, isRunning: running, memory: memory, mirrors: ["disk0": mirror], window: window,
                                        isInherited: inherited))
                            }
                        }
                    }
                }
            }
        }
        return all
    }

    static func sight(
        _ memory: OutgoingMachine.Memory, _ mirror: OutgoingMachine.Mirror, running: Bool = true, window: Duration? = nil,
        inherited: Bool = false
    ) -> OutgoingMachine.Sight {
        .init(isAlive: true, isRunning: running, memory: memory, mirrors: ["disk0": mirror], window: window, isInherited: inherited)
    }

    @Test func `never touches QEMU's run state once the handover is written`() {
        for sight in Self.sights {
            for back in [nil, OutgoingReport.Phase.aborted] {
                #expect(OutgoingMachine.next(Self.outgoing(.handedOver, leave: true, back: back), sight) == .deliver)
            }
            for phase in [OutgoingReport.Phase.confirmed, .aborted, .failed] {
                #expect(OutgoingMachine.next(Self.outgoing(phase, leave: true), sight) == .done)
            }
        }
    }

    @Test func `never cancels after migrate-continue`() {
        for sight in Self.sights where sight.memory == .device && sight.isAlive {
            for phase in [OutgoingReport.Phase.memory, .switching] {
                for back in [nil, OutgoingReport.Phase.aborted, .failed] {
                    #expect(OutgoingMachine.next(Self.outgoing(phase, leave: true, back: back), sight) == .wait)
                }
            }
        }
    }

    @Test func `tears a stream in which the last of the state is stuck, unless post-copy has begun`() {
        var sight = Self.sight(.device, .absent, running: false)
        for back in [nil, OutgoingReport.Phase.aborted] {
            var record = Self.outgoing(.switching, leave: true, back: back)
            sight.device = .seconds(9)
            #expect(OutgoingMachine.next(record, sight) == .wait)
            sight.device = .seconds(10)
            #expect(OutgoingMachine.next(record, sight) == .tearMemory)
            record.postCopy = .begun
            #expect(OutgoingMachine.next(record, sight) == .wait)
        }
    }

    @Test func `never goes forward on the way back, and never writes a handover there`() {
        for sight in Self.sights {
            switch OutgoingMachine.next(Self.outgoing(.memory, leave: true, back: .aborted), sight) {
            case .startMirrors, .noteMirrored, .startMemory, .noteMemory, .startPostCopy, .drain, .clear, .proceed, .handOver, .deliver,
                .turnBack, .beginPostCopy, .askTarget, .rejoin, .endPostCopy:
                Issue.record("forward at \(sight)")
            case .wait, .cancelMemory, .removeMirrors, .resume, .finish, .endGuest, .tearMemory, .done: break
            }
        }
    }

    @Test func `ends no mirror that is not ready, and continues only without one`() {
        for sight in Self.sights {
            let step = OutgoingMachine.next(Self.outgoing(.memory, leave: true), sight)
            if case .drain = step { #expect(sight.mirrors["disk0"] == .ready && sight.memory == .preSwitchover) }
            if step == .proceed { #expect(sight.mirrors["disk0"] == .absent && sight.memory == .preSwitchover) }
            if step == .handOver { #expect(sight.memory == .completed) }
        }
    }

    @Test func `takes no earlier attempt's end for its own`() {
        for memory in [OutgoingMachine.Memory.completed, .cancelled, .failed("cut")] {
            #expect(OutgoingMachine.next(Self.outgoing(.mirroring), Self.sight(memory, .ready)) == .noteMirrored)
            #expect(OutgoingMachine.next(Self.outgoing(.mirrored, leave: true), Self.sight(memory, .ready)) == .startMemory)
        }
    }

    @Test func `walks a whole migration`() {
        let before = Self.outgoing(.mirroring)
        #expect(OutgoingMachine.next(before, Self.sight(.none, .absent)) == .startMirrors(["disk0"]))
        #expect(OutgoingMachine.next(before, Self.sight(.none, .idle)) == .startMirrors(["disk0"]))
        #expect(OutgoingMachine.next(before, Self.sight(.none, .copying)) == .wait)
        #expect(OutgoingMachine.next(before, Self.sight(.none, .ready)) == .noteMirrored)
        #expect(OutgoingMachine.next(Self.outgoing(.mirrored), Self.sight(.none, .ready)) == .wait)
        #expect(OutgoingMachine.next(Self.outgoing(.mirrored, leave: true), Self.sight(.none, .ready)) == .startMemory)
        #expect(OutgoingMachine.next(Self.outgoing(.mirrored, leave: true), Self.sight(.moving, .ready)) == .noteMemory)
        let memory = Self.outgoing(.memory, leave: true)
        #expect(OutgoingMachine.next(memory, Self.sight(.moving, .ready)) == .wait)
        #expect(OutgoingMachine.next(memory, Self.sight(.preSwitchover, .ready, window: .zero)) == .drain(["disk0"]))
        #expect(OutgoingMachine.next(memory, Self.sight(.preSwitchover, .ended, window: .zero)) == .clear(["disk0"]))
        #expect(OutgoingMachine.next(memory, Self.sight(.preSwitchover, .absent, window: .zero)) == .proceed)
        #expect(OutgoingMachine.next(memory, Self.sight(.completed, .absent)) == .handOver)
    }

    @Test func `turns back from every fault before the switch`() {
        func reason(_ phase: OutgoingReport.Phase, _ sight: OutgoingMachine.Sight) -> Reason.Code? {
            guard case .turnBack(let unwinding) = OutgoingMachine.next(Self.outgoing(phase, leave: true), sight) else { return nil }
            return unwinding.reason?.code
        }
        let broken = OutgoingMachine.Mirror.broken(Reason(.diskFull, "full"))
        #expect(reason(.mirroring, Self.sight(.none, broken)) == .diskFull)
        #expect(reason(.memory, Self.sight(.moving, broken)) == .diskFull)
        #expect(reason(.memory, Self.sight(.moving, .absent)) == .qemuError)
        #expect(reason(.memory, Self.sight(.failed("cut"), .ready)) == .connectionLost)
        #expect(reason(.memory, Self.sight(.preSwitchover, .copying, window: .seconds(5))) == .switchoverTimeout)
        #expect(reason(.memory, Self.sight(.preSwitchover, .ready, window: .zero, inherited: true)) == .switchoverTimeout)
        var dead = Self.sight(.none, .absent)
        dead.isAlive = false
        guard case .finish(.failed, let fault) = OutgoingMachine.next(Self.outgoing(.memory), dead) else {
            Issue.record("a dead guest is not seen")
            return
        }
        #expect(fault?.code == .guestStopped)
    }

    @Test func `goes back in the order that cannot freeze the guest`() {
        let back = Self.outgoing(.memory, leave: true, back: .aborted)
        #expect(OutgoingMachine.next(back, Self.sight(.moving, .ready)) == .cancelMemory)
        #expect(OutgoingMachine.next(back, Self.sight(.cancelling, .ready)) == .wait)
        #expect(OutgoingMachine.next(back, Self.sight(.cancelled, .ready)) == .removeMirrors)
        #expect(OutgoingMachine.next(back, Self.sight(.cancelled, .absent, running: false)) == .resume)
        #expect(OutgoingMachine.next(back, Self.sight(.completed, .absent, running: false)) == .resume)
        #expect(OutgoingMachine.next(back, Self.sight(.cancelled, .absent)) == .finish(.aborted, nil))
    }

    @Test func `runs an incoming guest only when it is owned`() {
        for phase in [IncomingReport.Phase.prepared, .received, .owned, .running, .refused, .failed] {
            var record = IncomingRecord(epoch: Epoch(1), key: Self.key, phase: phase, source: "a")
            record.endpoints = Endpoints(address: "127.0.0.1", nbdPort: 1, memoryPort: 2)
            for memory in [IncomingMachine.Memory.none, .moving, .completed, .failed("cut")] {
                for alive in [true, false] {
                    for running in [true, false] {
                        let step = IncomingMachine.next(
                            record, shown: phase, .init(isAlive: alive, isRunning: running, memory: memory))
                        if step == .run { #expect(phase == .owned && alive && !running) }
                        if case .fail = step { #expect(phase == .prepared || phase == .received) }
                    }
                }
            }
        }
    }

    @Test func `a guest that ended after it was handed over is this host's, and off`() {
        var record = IncomingRecord(epoch: Epoch(1), key: Self.key, phase: .owned, source: "a")
        record.endpoints = Endpoints(address: "127.0.0.1", nbdPort: 1, memoryPort: 2)
        let gone = IncomingMachine.Sight(isAlive: false, isRunning: false, memory: .none)
        #expect(IncomingMachine.next(record, shown: .owned, gone) == .noteEnded(IncomingMachine.ended))
    }

    @Test func `remembers an attempt that was called off before it was heard of, as long as its orders would be obeyed`() throws {
        var record = GuestRecord(server: "s")
        record.own(under: Epoch(1))
        try record.admit(Epoch(5))
        try record.requireNotAborted(Self.key)
        try record.requireNotTakenBack(Self.key)
        try record.abort(AbortOrder(epoch: Epoch(5), key: Self.key, targetRefused: false))
        #expect(throws: AgentProblem.self) { try record.requireNotAborted(Self.key) }
        // Base images that are taken back in the course of a live attempt do not call it off, nor the other way round.
        try record.requireNotTakenBack(Self.key)
        let other = AttemptKey(migration: "m", attempt: 2)
        try record.takeBack(TakeBackOrder(epoch: Epoch(5), key: other, targetRefused: false))
        try record.takeBack(TakeBackOrder(epoch: Epoch(5), key: other, targetRefused: false))
        #expect(throws: AgentProblem.self) { try record.requireNotTakenBack(other) }
        try record.requireNotAborted(other)
        #expect(record.takenBack == [other] && record.tenure == .home && record.loan == nil && record.outgoing == nil)
        try record.admit(Epoch(5))
        #expect(throws: AgentProblem.self) { try record.requireNotAborted(Self.key) }
        // What is cleaned up where nothing of it is begins neither way any more.
        let third = AttemptKey(migration: "m", attempt: 3)
        record.callOff(third)
        record.callOff(third)
        #expect(throws: AgentProblem.self) { try record.requireNotAborted(third) }
        #expect(throws: AgentProblem.self) { try record.requireNotTakenBack(third) }
        #expect(record.takenBack == [other, third] && record.tenure == .home)
        // From here on the epoch keeps those orders out.
        try record.admit(Epoch(6))
        #expect(record.aborted == nil && record.takenBack == nil)
    }

    @Test func `an owner record that is newer keeps out the orders from before it`() throws {
        var record = GuestRecord(server: "s")
        try record.admit(Epoch(5))
        record.own(under: Epoch(5))
        record.lose(to: OwnerRecord(server: "s", epoch: Epoch(8), host: "other"), endedGuest: false)
        #expect(throws: AgentProblem.self) { try record.admit(Epoch(7)) }
        try record.admit(Epoch(8))
        // What it was the owner of since is what it has again should the other one give way.
        #expect(record.tenure == .none && record.lost?.ownedSince == Epoch(5))
        record.own(under: Epoch(8))
        record.lose(to: OwnerRecord(server: "s", epoch: Epoch(3), host: "other"), endedGuest: false)
        #expect(record.epoch == Epoch(8))
    }

    @Test func `refuses an older epoch and keeps a newer one`() throws {
        var record = GuestRecord(server: "s")
        try record.admit(Epoch(5))
        try record.admit(Epoch(5))
        let before = record
        #expect(throws: AgentProblem.self) { try record.admit(Epoch(4)) }
        #expect(record == before)
        try record.admit(Epoch(7))
        record.forget()
        #expect(record.epoch == Epoch(7))
        #expect(throws: AgentProblem.self) { try record.admit(Epoch(6)) }
    }

    @Test func `carries out what the policy says only while memory moves`() {
        let reason = Reason(.didNotConverge, "too busy")
        for var sight in Self.sights {
            for verdict in [OutgoingMachine.Verdict.startPostCopy, .giveUp(reason)] {
                sight.verdict = verdict
                let step = OutgoingMachine.next(Self.outgoing(.memory, leave: true), sight)
                if step == .startPostCopy || step == .turnBack(.init(phase: .failed, reason: reason)) {
                    #expect(sight.memory == .moving && sight.isAlive)
                }
                #expect(OutgoingMachine.next(Self.outgoing(.memory, leave: true, back: .aborted), sight) != .startPostCopy)
            }
        }
        var sight = Self.sight(.moving, .ready)
        sight.verdict = .giveUp(reason)
        #expect(OutgoingMachine.next(Self.outgoing(.memory, leave: true), sight) == .turnBack(.init(phase: .failed, reason: reason)))
        sight.verdict = .startPostCopy
        #expect(OutgoingMachine.next(Self.outgoing(.memory, leave: true), sight) == .startPostCopy)
    }
}

/// What stands on the disk when a write was cut off.
struct LedgerTests {
    static func withFolder(_ body: (String) async throws -> Void) async throws {
        let folder = "/tmp/gwl-\(UInt32.random(in: .min ... .max))"
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(atPath: folder) }
        try await body(folder)
    }

    @Test func `keeps the newest change, whichever way it was written`() async throws {
        try await Self.withFolder { folder in
            let path = "\(folder)/guest.json"
            for layOut in [false, true] {
                let ledger = try Ledger(path: path, server: "s")
                let base = ledger.record.epoch.value
                if layOut { try await ledger.layOutSlot() }
                try await ledger.change { $0.epoch = Epoch(base + 1) }
                try await ledger.change(isUrgent: true) { $0.epoch = Epoch(base + 2) }
                #expect(try Ledger(path: path, server: "s").record.epoch == Epoch(base + 2))
                // Urgent again: the slot holds what the file does not, and must not be written over.
                try await ledger.change(isUrgent: true) { $0.epoch = Epoch(base + 3) }
                #expect(try Ledger(path: path, server: "s").record.epoch == Epoch(base + 3))
                try await ledger.change { $0.epoch = Epoch(base + 4) }
                #expect(try Ledger(path: path, server: "s").record.epoch == Epoch(base + 4))
                try await ledger.change(isUrgent: true) { $0.epoch = Epoch(base + 5) }
                #expect(try Ledger(path: path, server: "s").record == ledger.record)
            }
        }
    }

    @Test func `falls back to the file when the slot was torn at any byte`() async throws {
        try await Self.withFolder { folder in
            let path = "\(folder)/guest.json"
            let ledger = try Ledger(path: path, server: "s")
            try await ledger.layOutSlot()
            try await ledger.change { $0.epoch = Epoch(1) }
            let empty = try Data(contentsOf: URL(fileURLWithPath: path + ".slot"))
            try await ledger.change(isUrgent: true) { $0.epoch = Epoch(2) }
            let whole = try Data(contentsOf: URL(fileURLWithPath: path + ".slot"))
            let length = try #require(whole.lastIndex { $0 != 0 }) + 1
            for cut in stride(from: 0, to: length, by: 7) {
                try (whole.prefix(cut) + empty.dropFirst(cut)).write(to: URL(fileURLWithPath: path + ".slot"))
                #expect(try Ledger(path: path, server: "s").record.epoch == Epoch(1))
            }
            try whole.write(to: URL(fileURLWithPath: path + ".slot"))
            #expect(try Ledger(path: path, server: "s").record.epoch == Epoch(2))
        }
    }

    @Test func `changes nothing when the change is refused`() async throws {
        try await Self.withFolder { folder in
            let ledger = try Ledger(path: "\(folder)/guest.json", server: "s")
            try await ledger.change { try $0.admit(Epoch(3)) }
            await #expect(throws: AgentProblem.self) {
                try await ledger.change { record in
                    record.desired = .running
                    try record.admit(Epoch(2))
                }
            }
            #expect(ledger.record.desired == .stopped)
            #expect(try Ledger(path: "\(folder)/guest.json", server: "s").record == ledger.record)
        }
    }

    @Test func `refuses a record that it cannot read`() async throws {
        try await Self.withFolder { folder in
            try Data("{".utf8).write(to: URL(fileURLWithPath: "\(folder)/guest.json"))
            #expect(throws: AgentProblem.self) { try Ledger(path: "\(folder)/guest.json", server: "s") }
        }
    }
}
