import AgentAPI
import Attempts
import Fleet
import Testing

@testable import Agent

/// What the agents decide about post-copy, without a QEMU.
struct PostCopyDecisionTests {
    typealias Machine = OutgoingMachine

    static func outgoing(
        _ phase: OutgoingReport.Phase, _ mark: OutgoingRecord.PostCopyMark?, back: OutgoingReport.Phase? = nil
    ) -> OutgoingRecord {
        var record = DecisionTests.outgoing(phase, leave: true, back: back)
        record.streams = StreamOptions(isPostCopyAllowed: true)
        record.postCopy = mark
        return record
    }

    /// Everything that can be seen, with what the target's agent may have said.
    static var sights: [Machine.Sight] {
        DecisionTests.sights.flatMap { sight in
            [(false, false), (true, false), (false, true)].map { arrived, lost in
                var sight = sight
                (sight.hasArrived, sight.isTargetLost) = (arrived, lost)
                return sight
            }
        }
    }

    static let begun: [Machine.Memory] = [.postCopy, .interrupted, .rejoining]

    @Test func `writes that it begins before QEMU does`() {
        let sight = DecisionTests.sight(.preSwitchover, .absent, window: .zero)
        #expect(Machine.next(Self.outgoing(.memory, .asked), sight) == .beginPostCopy)
        #expect(Machine.next(Self.outgoing(.memory, .begun), sight) == .proceed)
        #expect(Machine.next(Self.outgoing(.memory, nil), sight) == .proceed)
        for sight in Self.sights where Machine.next(Self.outgoing(.memory, .asked), sight) == .proceed {
            Issue.record("went on without a mark at \(sight)")
        }
    }

    @Test func `hands over only what the target says it could run`() {
        for sight in Self.sights where sight.isAlive && Self.begun.contains(sight.memory) {
            let step = Machine.next(Self.outgoing(.memory, .begun), sight)
            switch step {
            case .handOver: #expect(sight.hasArrived)
            case .askTarget: #expect(!sight.hasArrived)
            case .endGuest(let reason):
                #expect(sight.isTargetLost)
                #expect(reason.code == .guestStopped)
            default: Issue.record("\(step) at \(sight)")
            }
        }
        // A post-copy that failed to begin is a failure like any other: QEMU has taken the guest back.
        guard case .turnBack = Machine.next(Self.outgoing(.memory, .begun), DecisionTests.sight(.failed("cut"), .absent)) else {
            Issue.record("a failed beginning is not turned back")
            return
        }
    }

    @Test func `runs no guest here again once QEMU has begun`() {
        for sight in Self.sights where sight.isAlive && Self.begun.contains(sight.memory) {
            for phase in [OutgoingReport.Phase.memory, .handedOver, .confirmed] {
                for back in [nil, OutgoingReport.Phase.aborted, .failed] {
                    switch Machine.next(Self.outgoing(phase, .begun, back: back), sight) {
                    case .resume, .cancelMemory, .removeMirrors, .turnBack, .finish: Issue.record("\(phase) \(sight)")
                    default: break
                    }
                }
            }
        }
    }

    @Test func `is not over before QEMU says that all memory is sent`() {
        for sight in Self.sights {
            let step = Machine.next(Self.outgoing(.confirmed, .begun), sight)
            switch step {
            case .endPostCopy(.complete): #expect(sight.isAlive && sight.memory == .completed && !sight.isTargetLost)
            case .endPostCopy(.lost):
                let isOver = [.none, .cancelled, .failed("cut")].contains(sight.memory)
                #expect(!sight.isAlive || sight.isTargetLost || isOver)
            case .rejoin: #expect(sight.memory == .interrupted)
            case .wait: #expect(sight.isAlive)
            default: Issue.record("\(step) at \(sight)")
            }
            for mark in [nil, OutgoingRecord.PostCopyMark.complete, .lost] {
                #expect(Machine.next(Self.outgoing(.confirmed, mark), sight) == .done)
            }
        }
        #expect(!Self.outgoing(.confirmed, .begun).isOver)
        #expect(Self.outgoing(.confirmed, .complete).isOver)
    }

    @Test func `fetches at the target until all is there or lost`() {
        func record(_ phase: IncomingReport.Phase, _ postCopy: PostCopy?) -> IncomingRecord {
            IncomingRecord(
                epoch: Epoch(1), key: DecisionTests.key, phase: phase, source: "a",
                endpoints: Endpoints(address: "127.0.0.1", nbdPort: 1, memoryPort: 2), postCopy: postCopy)
        }
        func next(_ record: IncomingRecord, _ memory: IncomingMachine.Memory, alive: Bool = true, running: Bool = true)
            -> IncomingMachine.Step
        {
            IncomingMachine.next(record, shown: record.phase, .init(isAlive: alive, isRunning: running, memory: memory))
        }
        #expect(next(record(.prepared, nil), .postCopy, running: false) == .noteReceived)
        #expect(next(record(.owned, .fetching), .postCopy, running: false) == .run)
        #expect(next(record(.owned, .fetching), .postCopy) == .noteRunning)
        #expect(next(record(.running, .fetching), .postCopy) == .wait)
        #expect(next(record(.running, .fetching), .interrupted) == .notePostCopy(.interrupted))
        #expect(next(record(.running, .interrupted), .interrupted) == .wait)
        #expect(next(record(.running, .interrupted), .postCopy) == .notePostCopy(.fetching))
        #expect(next(record(.running, .fetching), .completed) == .notePostCopy(.complete))
        #expect(next(record(.running, .interrupted), .postCopy, alive: false) == .notePostCopy(.lost))
        #expect(next(record(.owned, .fetching), .postCopy, alive: false) == .noteEnded(IncomingMachine.ended))
        for postCopy in [nil, PostCopy.complete, .lost] { #expect(next(record(.running, postCopy), .postCopy) == .done) }
    }

    @Test func `takes no streams that do not go together`() {
        for channels in [1, 17, -1] { #expect(throws: AgentProblem.self) { try StreamOptions(channels: channels).validate() } }
        #expect(throws: AgentProblem.self) { try StreamOptions(channels: 4, isPostCopyAllowed: true).validate() }
        #expect(throws: Never.self) { try StreamOptions(isEncrypted: true, channels: 16).validate() }
        #expect(throws: Never.self) { try StreamOptions(isEncrypted: true, isPostCopyAllowed: true).validate() }
    }
}
