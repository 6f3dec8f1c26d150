import Client
import Fleet
import Foundation
import Testing

extension CrashStage {
    /// Runs one case from a healthy fleet to a healthy fleet.
    func run(_ crash: CrashCase) async throws -> CrashOutcome {
        let server = try await prepare(crash.way)
        let told = try acknowledged(server)
        try points.clear()
        try points.order("hold", at: crash.point)
        let start = ContinuousClock.now
        var outcome = CrashOutcome(crash: crash)
        let migration = try await submitHeld(crash, server)
        guard let caught = try await reach(crash, migration.id) else {
            try points.clear()
            _ = try await settle(crash, migration.id)
            return outcome
        }
        let isDead = try await kill(crash.victim, of: caught, crash.way)
        points.release(crash.point)
        try await pause(.milliseconds(300))
        try await revive()
        let end = try await settle(crash, migration.id)
        guard isDead else { return outcome }
        outcome.end = end.state.rawValue
        outcome.reason = end.reason?.code.description
        outcome.attempts = end.attempt
        outcome.milliseconds = (ContinuousClock.now - start).milliseconds
        outcome.flaws = try await flaws(crash, end, told: told)
        return outcome
    }

    /// Submits; a controller that is held in it, or dies of it, may not have answered.
    private func submitHeld(_ crash: CrashCase, _ server: ServerView) async throws -> MigrationView {
        guard crash.point.hasPrefix("store.submit.") else { return try await submit(crash.way, server) }
        return try await withThrowingTaskGroup(of: MigrationView?.self) { group in
            group.addTask { try? await submit(crash.way, server) }
            group.addTask {
                try await eventually("the submit is held", within: .seconds(60)) { points.isHeld(at: crash.point) }
                if crash.victim == .controller { try await fleet.slay("controller") }
                points.release(crash.point)
                try await revive()
                return nil
            }
            var answered: MigrationView?
            for try await answer in group { answered = answer ?? answered }
            if let answered { return answered }
            // It may stand in the store all the same.
            let all = try await fleet.decode([MigrationView].self, "migration-list", "--server", server.id)
            if let stands = all.first(where: { !$0.state.isFinished }) { return stands }
            return try await submit(crash.way, server)
        }
    }

    /// Waits until somebody is held at the place; nil when the migration ends before.
    private func reach(_ crash: CrashCase, _ id: String) async throws -> MigrationView? {
        let deadline = ContinuousClock.now + .seconds(90)
        var isCalledOff = !crash.way.isCancelled
        while ContinuousClock.now < deadline {
            if points.isHeld(at: crash.point) { return try await fleet.migration(id) }
            let now = try await fleet.migration(id)
            if now.state.isFinished { return try await late(crash, now) }
            if !isCalledOff { isCalledOff = try await callOff(crash.way, now) }
            try await pause(.milliseconds(20))
        }
        return nil
    }

    /// Some places come after the end, in a cleanup.
    private func late(_ crash: CrashCase, _ now: MigrationView) async throws -> MigrationView? {
        let deadline = ContinuousClock.now + .seconds(3)
        while ContinuousClock.now < deadline {
            if points.isHeld(at: crash.point) { return now }
            try await pause(.milliseconds(20))
        }
        return nil
    }

    /// Waits for the end of the migration, calling it off where that is its way, and for a whole fleet after it.
    private func settle(_ crash: CrashCase, _ id: String) async throws -> MigrationView {
        let deadline = ContinuousClock.now + .seconds(150)
        var latest: MigrationView?
        var isCalledOff = !crash.way.isCancelled
        while ContinuousClock.now < deadline {
            // A store that is kept from writing answers some calls with 503.
            if let now = try? await fleet.migration(id) {
                latest = now
                if now.state.isFinished { break }
                if !isCalledOff { isCalledOff = try await callOff(crash.way, now) }
            }
            try await pause(.milliseconds(100))
        }
        for host in fleet.hostNames where !fleet.isOn(host) { try await fleet.powerOn(host) }
        guard let latest else { throw Failure("\(crash): the migration cannot be seen") }
        return latest
    }

    /// What is not as it must be after a case.
    private func flaws(_ crash: CrashCase, _ end: MigrationView, told: UInt64) async throws -> [String] {
        var flaws: [String] = []
        func expect(_ what: String, within limit: Duration = .seconds(60), _ condition: () async throws -> Bool) async {
            do {
                try await eventually(what, within: limit, condition)
            } catch {
                flaws.append("\(error)")
            }
        }
        guard end.state.isFinished else { return ["still \(end.state.rawValue), awaiting \(end.awaiting ?? "nothing")"] }
        if end.state == .failed, end.reason == nil { flaws.append("failed without a reason") }
        let server = try await fleet.server(end.server.id)
        let home = end.state == .ready ? end.targetHost?.name : end.sourceHost.name
        if server.host.name != home { flaws.append("placed on \(server.host.name) after \(end.state.rawValue)") }
        await expect("all hosts are online again") { try await fleet.hosts().allSatisfy { $0.status == .online } }
        await expect("no cleanup is left") { try await fleet.decode([CleanupView].self, "cleanup-list").isEmpty }
        await expect("exactly the guest that the store knows runs") {
            let now = try await fleet.server(server.id)
            guard now.status != .starting else { return false }
            let runs = now.status == .running
            return try fleet.guests(of: server.id).keys.sorted() == (runs ? [now.host.name] : [])
        }
        for host in fleet.hostNames where host != home {
            await expect("\(host) keeps nothing") { try fleet.files(in: "\(host)/local/\(server.id)").isEmpty }
        }
        flaws += try await memoryFlaws(crash, server, told: told)
        let verified = try await fleet.godwit("history-verify")
        if verified.status != 0 { flaws.append("history: \(verified.output)\(verified.error)") }
        let story = try await fleet.history(end.id)
        if story.last(where: { $0.from != $0.to })?.to != end.state { flaws.append("its history does not end in \(end.state.rawValue)") }
        flaws += try await fleet.store.promises().map { "left in the store: \($0)" }
        return flaws
    }

    /// What of the guest's own proofs does not hold.
    private func memoryFlaws(_ crash: CrashCase, _ server: ServerView, told: UInt64) async throws -> [String] {
        var flaws: [String] = []
        let mayHaveDied = crash.victim == .sourceQEMU || crash.victim == .targetQEMU || crash.way == .rescue
        let now = try await fleet.server(server.id)
        if crash.way.isLive, now.status != .running {
            if !mayHaveDied { flaws.append("the guest does not run, status \(now.status.rawValue)") }
            _ = try await fleet.startGuest(server.name)
        }
        if crash.way.isLive || crash.way == .rescue {
            let before = try fleet.lastTick(of: now) ?? 0
            do {
                try await eventually("the guest goes on ticking", within: .seconds(60)) {
                    let view = try await fleet.server(server.id)
                    let tick = try fleet.lastTick(of: view) ?? 0
                    return tick > before + 5 || mayHaveDied && tick > 10
                }
            } catch {
                flaws.append("\(error)")
            }
            if try fleet.console(of: now).contains("Kernel panic") { flaws.append("the guest's kernel panicked") }
        }
        guard let written = try await written(try await fleet.server(server.id)) else { return flaws + ["the disk cannot be read"] }
        if written.records < told { flaws.append("\(told) records were acknowledged, \(written.records) are there") }
        flaws += written.problems
        if written.boots > (mayHaveDied ? 2 : 1) { flaws.append("booted \(written.boots) times") }
        return flaws
    }
}
