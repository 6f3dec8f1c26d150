import AgentAPI
import AgentFakes
import Engine
import Fleet
import Staging
import Steps
import Store
import Synchronization
import Testing

@testable import Live

@Suite struct LivePlanTests {
    @Test func `moves a server, and the history says how`() async throws {
        try await Stage.run { stage in
            let row = try await stage.runToEnd(MigrationOptions(maxBandwidthMB: 100))
            #expect(row.state == .ready && row.attempt == 1)
            #expect(try await stage.isWhole(on: "host2"))
            #expect(row.blackout?.totalUS == 15)
            #expect(row.progress?.diskDone == World.diskBytes && row.progress?.memoryTransferred == World.memoryBytes)
            #expect(
                stage.fleet.log == ["host2 prepare", "host1 mirror", "host1 sendMemory", "host1 discard source"])
            let history = try await stage.store.history(of: row.id)
            #expect(history.map(\.to) == [.pending, .scheduling, .syncingDisk, .syncingMemory, .switching, .ready])
            #expect(history[3].numbers["diskBytes"] == World.diskBytes)
            #expect(history[4].numbers["memoryBytes"] == World.memoryBytes)
            let end = history[5].numbers
            #expect(end["blackoutUS"] == 15 && end["diskBytes"] == World.diskBytes && end["memoryBytes"] == World.memoryBytes)
            #expect(end["totalMS"] != nil && end["ms"] != nil)
        }
    }

    @Test func `a guest without disks goes straight to memory`() async throws {
        try await Stage.run(hasDisk: false) { stage in
            let row = try await stage.runToEnd()
            #expect(row.state == .ready)
            let history = try await stage.store.history(of: row.id)
            #expect(history.map(\.to) == [.pending, .scheduling, .syncingMemory, .switching, .ready])
        }
    }

    @Test func `a server on no other host's level stays, and each host says why`() async throws {
        try await Stage.run { stage in
            for host in stage.hosts.dropFirst() { _ = try await stage.store.setHostEnabled(host.id, false) }
            let row = try await stage.runToEnd()
            #expect(row.state == .failed && row.reason?.code == .noHost && row.attempt == 1)
            #expect(
                row.reason?.message == """
                    No host can take vm1:
                      host   filter      wanted        found
                      host2  enabled     enabled       disabled
                      host3  enabled     enabled       disabled
                      host1  not-source  another host  the server is there now
                    """)
            #expect(try await stage.isWhole(on: "host1"))
            #expect(stage.fleet.log.isEmpty)
        }
    }

    @Test func `tries another host when the target cannot be prepared`() async throws {
        try await Stage.run { stage in
            stage.fleet.world.withLock {
                $0.nodes["host2"]?.problems["prepare"] = AgentProblem(.failed, .diskFull, "local on host2 is full.")
            }
            let row = try await stage.runToEnd()
            #expect(row.state == .ready && row.attempt == 2)
            #expect(row.excluded[stage.hosts[1].id]?.message == "local on host2 is full.")
            #expect(try await stage.isWhole(on: "host3"))
        }
    }

    @Test func `no other host left: fails with what went wrong first, then with why there is none`() async throws {
        try await Stage.run(hosts: ["host1", "host2"]) { stage in
            stage.fleet.world.withLock { world in
                world.onPhase[.memory] = { $0.killTarget("host2", source: "host1") }
            }
            let row = try await stage.runToEnd()
            #expect(row.state == .failed && row.reason?.code == .targetLost)
            #expect(
                row.reason?.message.hasPrefix("QEMU on host2 died. (host2)\nNo host can take vm1:") == true, "\(row.reason?.message ?? "")")
            #expect(try await stage.isWhole(on: "host1"))
        }
    }

    @Test(arguments: [OutgoingReport.Phase.mirrored, .memory, .switching])
    func `the target's QEMU dies: the source runs on and another host is taken`(phase: OutgoingReport.Phase) async throws {
        try await Stage.run { stage in
            stage.fleet.world.withLock { world in
                world.onPhase[phase] = { $0.killTarget("host2", source: "host1") }
            }
            let row = try await stage.runToEnd()
            #expect(row.state == .ready && row.attempt == 2 && row.excluded[stage.hosts[1].id]?.code == .targetLost)
            #expect(try await stage.isWhole(on: "host3"))
        }
    }

    @Test func `the target's QEMU dies after the handover and before it owned: the source takes the guest back`() async throws {
        try await Stage.run { stage in
            stage.fleet.world.withLock { world in
                world.onPhase[.handedOver] = { $0.setIncoming("host2", .failed, Reason(.targetLost, "QEMU on host2 died.")) }
            }
            let row = try await stage.runToEnd()
            #expect(row.state == .ready && row.attempt == 2)
            #expect(stage.fleet.log.filter { $0.hasPrefix("host1 abort") } == ["host1 abort false", "host1 abort true"])
            let refused = stage.fleet.log.firstIndex(of: "host2 refuse")
            let aborted = stage.fleet.log.firstIndex(of: "host1 abort true")
            #expect(refused != nil && aborted != nil && (refused ?? 0) < (aborted ?? 0), "\(stage.fleet.log)")
            #expect(try await stage.isWhole(on: "host3"))
        }
    }

    @Test func `the guest ends by itself: failed, the server off, with a note`() async throws {
        try await Stage.run { stage in
            stage.fleet.world.withLock { world in
                world.onPhase[.memory] = {
                    $0.endSource("host1", .failed, Reason(.guestStopped, "The guest powered off."), isRunning: false)
                }
            }
            let row = try await stage.runToEnd()
            #expect(row.state == .failed && row.reason?.code == .guestStopped && row.attempt == 1)
            let server = try await stage.store.server(stage.server.id.value)
            #expect(server.status == .ready && server.note?.code == .guestStopped && server.host == stage.hosts[0].id)
            #expect(stage.disks == ["host1"] && stage.violations.isEmpty)
        }
    }

    @Test func `no byte moves: stalled, rolled back, tried elsewhere`() async throws {
        try await Stage.run { stage in
            stage.fleet.world.withLock { world in
                world.onPhase[.mirrored] = { world in
                    world.isFrozen = true
                    world.nodes["host1"]?.outgoing?.phase = .mirroring
                }
            }
            let id = try await stage.submit(MigrationOptions(stallTimeoutS: 1))
            let row = try await stage.withWorker {
                try await stage.eventually("it turned back") { try await stage.store.migration(id.value).attempt == 2 }
                stage.fleet.world.withLock { $0.isFrozen = false }
                return try await stage.end(of: id)
            }
            #expect(row.state == .ready && row.excluded[stage.hosts[1].id]?.code == .stalled)
            #expect(try await stage.isWhole(on: "host3"))
        }
    }

    // MARK: agents away

    @Test(arguments: ["host1", "host2"], [OutgoingReport.Phase.mirrored, .memory, .switching, .handedOver, .confirmed])
    func `an agent that restarts is waited for`(host: String, phase: OutgoingReport.Phase) async throws {
        try await Stage.run { stage in
            stage.fleet.world.withLock { world in
                world.onPhase[phase] = { $0.nodes[host]?.silentCalls = 4 }
            }
            let row = try await stage.runToEnd()
            #expect(row.state == .ready && row.attempt == 1)
            #expect(try await stage.isWhole(on: "host2"))
        }
    }

    @Test(arguments: [OutgoingReport.Phase.memory, .switching, .handedOver])
    func `a source that is away for long is awaited in sight, for it may have handed over`(phase: OutgoingReport.Phase) async throws {
        try await Stage.run { stage in
            stage.fleet.world.withLock { world in
                world.onPhase[phase] = { $0.nodes["host1"]?.silentCalls = 1_000_000 }
            }
            let id = try await stage.submit()
            let row = try await stage.withWorker {
                try await stage.eventually("it says what it waits for") {
                    try await stage.store.migration(id.value).awaiting?.contains("host1") == true
                }
                #expect(try await stage.store.migration(id.value).direction == .forward)
                stage.fleet.world.withLock { $0.nodes["host1"]?.silentCalls = 0 }
                return try await stage.end(of: id)
            }
            #expect(row.state == .ready && row.awaiting == nil && row.attempt == 1)
            #expect(try await stage.isWhole(on: "host2"))
        }
    }

    @Test(arguments: [OutgoingReport.Phase.memory, .switching, .handedOver], [false, true])
    func `a source that is off for good is given up on somebody's word, and the server can be rescued`(
        phase: OutgoingReport.Phase, isCancelled: Bool
    ) async throws {
        try await Stage.run(hasDisk: false) { stage in
            stage.fleet.world.withLock { world in
                world.areAgentsConnected = false
                world.onPhase[phase] = { $0.nodes["host1"]?.silentCalls = .max }
            }
            let id = try await stage.submit()
            try await stage.withWorker {
                try await stage.eventually("it waits") { try await stage.store.migration(id.value).awaiting?.contains("host1") == true }
                if isCancelled { _ = try await stage.store.requestCancel(id, actor: "ada") }
                _ = try await stage.store.setParameters(of: id, MigrationParameters(confirmHostDown: true), actor: "ada")
                let row = try await stage.end(of: id)
                #expect(row.state == .failed && row.reason?.code == (isCancelled ? .cancelled : .sourceLost), "\(row)")
            }
            #expect(stage.violations.isEmpty && !stage.running.contains("host2"))
            #expect(stage.fleet.world.withLock { $0.nodes["host2"]?.refused.isEmpty } == false)
            #expect(try await stage.settled() == ("host1", .running, true))
            try await stage.store.recordHealth(of: stage.hosts[0].id, facts: .staged(memoryGB: 64), validForMS: 0)
            _ = try await stage.store.submitMigration(
                server: stage.server.id, mode: .rescue, options: MigrationOptions(confirmHostDown: true), maxAttempts: 3, actor: "ada")
        }
    }

    @Test func `a source with a disk of its own is not given up`() async throws {
        try await Stage.run { stage in
            stage.fleet.world.withLock { world in
                world.onPhase[.memory] = { $0.nodes["host1"]?.silentCalls = .max }
            }
            let id = try await stage.submit()
            try await stage.withWorker {
                func vouch() async throws -> StoreError? {
                    await #expect(throws: StoreError.self) {
                        try await stage.store.setParameters(of: id, MigrationParameters(confirmHostDown: true), actor: "ada")
                    }
                }
                #expect(try await vouch()?.message.contains("waits for nothing") == true)
                try await stage.eventually("it waits") { try await stage.store.migration(id.value).awaiting?.contains("host1") == true }
                #expect(try await vouch()?.message.contains("on storage local") == true)
                stage.fleet.world.withLock { $0.nodes["host1"]?.silentCalls = 0 }
                #expect(try await stage.end(of: id).state == .ready)
            }
            #expect(try await stage.isWhole(on: "host2"))
        }
    }

    @Test func `the agents end the switchover while the source's does not answer: that the target runs is enough`() async throws {
        try await Stage.run { stage in
            stage.fleet.world.withLock { world in
                world.onPhase[.switching] = { world in
                    world.tick("host1")
                    world.tick("host1")
                    world.nodes["host1"]?.silentCalls = 1_000_000
                }
            }
            let id = try await stage.submit()
            let row = try await stage.withWorker { () async throws -> Migration in
                let row = try await stage.end(of: id, cleanups: false)
                #expect(try await stage.store.cleanups().map(\.kind) == [.source])
                stage.fleet.world.withLock { $0.nodes["host1"]?.silentCalls = 0 }
                return row
            }
            #expect(row.state == .ready && row.attempt == 1)
            #expect(stage.running == ["host2"] && stage.violations.isEmpty)
        }
    }

    @Test func `the worker carries the handover when the agents do not reach each other`() async throws {
        try await Stage.run { stage in
            stage.fleet.world.withLock { $0.areAgentsConnected = false }
            let id = try await stage.submit()
            let relayed = Mutex(false)
            stage.fleet.onCall { _, order in if order == "host2 handOver" { relayed.withLock { $0 = true } } }
            let row = try await stage.withWorker { try await stage.end(of: id, cleanups: false) }
            #expect(row.state == .ready && relayed.withLock { $0 })
            #expect(stage.running == ["host2"] && stage.violations.isEmpty)
        }
    }

    @Test func `a target whose QEMU ended before it owned the guest refuses, and the source takes the guest back`() async throws {
        try await Stage.run(hosts: ["host1", "host2"]) { stage in
            stage.fleet.world.withLock { world in
                world.areAgentsConnected = false
                world.onPhase[.handedOver] = { world in
                    world.setIncoming("host2", .failed)
                    world.nodes["host2"]?.incoming?.reason = Reason(.targetLost, "Its host was off.")
                }
            }
            let id = try await stage.submit()
            let row = try await stage.withWorker { try await stage.end(of: id) }
            #expect(row.state == .failed && row.reason?.code == .targetLost)
            #expect(try await stage.isWhole(on: "host1"))
        }
    }

    @Test func `a target that is away after the handover is awaited: nobody runs, and nobody else may`() async throws {
        try await Stage.run { stage in
            stage.fleet.world.withLock { world in
                world.areAgentsConnected = false
                world.onPhase[.handedOver] = { $0.nodes["host2"]?.silentCalls = 1_000_000 }
            }
            let id = try await stage.submit()
            let row = try await stage.withWorker {
                try await stage.eventually("it says what it waits for") {
                    try await stage.store.migration(id.value).awaiting?.contains("host2") == true
                }
                #expect(stage.running.isEmpty)
                _ = try await stage.store.requestCancel(id, actor: "ada")
                stage.fleet.world.withLock { $0.nodes["host2"]?.silentCalls = 0 }
                return try await stage.end(of: id, cleanups: false)
            }
            // The cancellation came before the target was back, or after: one of both runs.
            #expect(row.state.isFinished)
            #expect(stage.running == [row.state == .ready ? "host2" : "host1"] && stage.violations.isEmpty)
        }
    }

    @Test func `a target that is away when the attempt is given up is cleaned up when it is back`() async throws {
        try await Stage.run(hosts: ["host1", "host2"]) { stage in
            stage.fleet.world.withLock { world in
                world.onPhase[.memory] = { world in
                    world.nodes["host2"]?.silentCalls = 1_000_000
                    world.endSource("host1", .failed, Reason(.connectionLost, "The connection broke."))
                }
            }
            let id = try await stage.submit()
            try await stage.withWorker {
                let row = try await stage.end(of: id, cleanups: false)
                #expect(row.state == .failed && row.reason?.code == .targetLost)
                #expect(row.reason?.message.hasPrefix("host2 cannot be reached") == true)
                #expect(try await stage.store.cleanups().map(\.kind) == [.target])
                #expect(stage.disks == ["host1", "host2"])
                stage.fleet.world.withLock { $0.nodes["host2"]?.silentCalls = 0 }
                _ = try await stage.end(of: id)
            }
            #expect(try await stage.isWhole(on: "host1"))
        }
    }

    @Test func `an agent that obeyed a newer epoch ends this worker's part without a word`() async throws {
        try await Stage.run { stage in
            stage.fleet.world.withLock { $0.nodes["host2"]?.epoch = Epoch(1000) }
            let id = try await stage.submit()
            try await stage.withWorker {
                try await stage.eventually("it was told") { stage.fleet.world.withLock { $0.nodes["host2"]?.preparations == 0 } }
                try await stage.eventually("it is placed") { try await stage.store.migration(id.value).state == .syncingDisk }
            }
            let row = try await stage.store.migration(id.value)
            #expect(row.direction == .forward && row.reason == nil)
            #expect(stage.fleet.log.isEmpty)
        }
    }
}

/// What others change about a migration under way, and how long it may take.
@Suite struct LiveControlTests {
    @Test(arguments: [OutgoingReport.Phase.mirroring, .memory])
    func `parameters set in flight reach the agent within a moment, disks and memory both`(phase: OutgoingReport.Phase) async throws {
        try await Stage.run { stage in
            stage.fleet.world.withLock { world in
                if phase == .memory { world.onPhase[.memory] = { $0.isFrozen = true } } else { world.isFrozen = true }
            }
            let id = try await stage.submit(MigrationOptions(maxBandwidthMB: 100))
            let row = try await stage.withWorker {
                try await stage.eventually("it is there") { stage.fleet.world.withLock { $0.nodes["host1"]?.outgoing?.phase == phase } }
                _ = try await stage.store.setParameters(
                    of: id, MigrationParameters(maxBandwidthMB: 7, downtimeLimitMS: 900), actor: "ada")
                try await stage.eventually("the agent was told") {
                    stage.fleet.world.withLock { $0.nodes["host1"]?.bandwidths.last == 7_000_000 }
                }
                stage.fleet.world.withLock { $0.isFrozen = false }
                return try await stage.end(of: id)
            }
            #expect(row.state == .ready && row.attempt == 1)
            #expect(stage.fleet.world.withLock { $0.nodes["host1"]?.bandwidths } == [100_000_000, 7_000_000])
            #expect(stage.fleet.world.withLock { $0.nodes["host1"]?.leave?.rules.downtimeLimitMS } == 900)
            let history = try await stage.store.history(of: id)
            #expect(history.filter { $0.reason?.code == .parametersSet }.map(\.actor) == ["ada"])
        }
    }

    @Test func `each thing that the agent did by itself is a row of its own, once, with its numbers`() async throws {
        try await Stage.run { stage in
            let events = [30, 60, 120].map { PolicyEvent(.downtimeLimit, "\($0) ms", numbers: ["downtimeLimitMS": Int64($0)]) }
            stage.fleet.world.withLock { world in
                world.onPhase[.mirrored] = { $0.nodes["host1"]?.outgoing?.events = [events[0]] }
                world.onPhase[.memory] = { $0.nodes["host1"]?.outgoing?.events = events }
            }
            let row = try await stage.runToEnd()
            let told = try await stage.store.history(of: row.id).filter { $0.reason?.code == .downtimeLimit }
            #expect(told.compactMap(\.reason?.message) == ["30 ms", "60 ms", "120 ms"])
            #expect(told.compactMap { $0.numbers["downtimeLimitMS"] } == [30, 60, 120])
        }
    }

    @Test(arguments: [OutgoingReport.Phase.mirroring, .memory])
    func `past its completion deadline it ends as timed-out, the source whole and the target clean`(
        phase: OutgoingReport.Phase
    ) async throws {
        try await Stage.run { stage in
            stage.fleet.world.withLock { world in
                if phase == .memory { world.onPhase[.memory] = { $0.isFrozen = true } } else { world.isFrozen = true }
            }
            let row = try await stage.runToEnd(MigrationOptions(timeoutS: 1))
            #expect(row.state == .failed && row.reason?.code == .timedOut && row.attempt == 1)
            #expect(row.reason?.message.contains("from host1 to host2 was not through within 1 s") == true, "\(row.reason?.message ?? "")")
            #expect(try await stage.isWhole(on: "host1"))
        }
    }

    @Test func `memory that does not converge ends it: no other host would do better`() async throws {
        try await Stage.run { stage in
            stage.fleet.world.withLock { world in
                world.onPhase[.memory] = { $0.endSource("host1", .failed, Reason(.didNotConverge, "It dirties too fast.")) }
            }
            let row = try await stage.runToEnd()
            #expect(row.state == .failed && row.reason == Reason(.didNotConverge, "It dirties too fast.") && row.attempt == 1)
            #expect(try await stage.isWhole(on: "host1"))
        }
    }
}

@Suite struct LiveCancelTests {
    @Test(arguments: [OutgoingReport.Phase.mirrored, .memory, .switching, .handedOver, .confirmed])
    func `cancelled in any phase, the guest runs in exactly one place`(phase: OutgoingReport.Phase) async throws {
        try await Stage.run(relayAfter: .seconds(60)) { stage in
            stage.fleet.world.withLock { world in
                world.onPhase[phase] = { $0.isFrozen = true }
            }
            let id = try await stage.submit()
            let row = try await stage.withWorker(leaseMS: 1500) {
                try await stage.eventually("it is there") {
                    stage.fleet.world.withLock { $0.nodes["host1"]?.outgoing?.phase == phase }
                }
                _ = try await stage.store.requestCancel(id, actor: "ada")
                return try await stage.end(of: id)
            }
            let isOver = phase == .confirmed
            #expect(row.state == (isOver ? .ready : .failed), "\(row)")
            if !isOver { #expect(row.reason?.code == .cancelled) }
            #expect(try await stage.isWhole(on: isOver ? "host2" : "host1"))
        }
    }
}
