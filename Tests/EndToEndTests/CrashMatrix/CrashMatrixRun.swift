import Client
import Failpoints
import Fleet
import Foundation
import Testing

/// What `script/test crash-matrix` asks for, by the environment.
struct CrashMatrixRun: Sendable {
    /// Outcomes, a line each (JSON): those that stand there are not run again.
    let results: URL
    /// Of all cases this one's part: `2/3` is the second of three.
    let part: (number: Int, of: Int)
    let ways: [CrashWay]
    let victims: [CrashVictim]
    /// No case begins after so many minutes.
    let minutes: Int

    static var wanted: CrashMatrixRun? {
        let environment = ProcessInfo.processInfo.environment
        guard let results = environment["GODWIT_CRASH_MATRIX"] else { return nil }
        let part = (environment["GODWIT_CRASH_MATRIX_PART"] ?? "1/1").split(separator: "/").compactMap { Int($0) }
        func chosen<T: CaseIterable & RawRepresentable>(_ name: String, _ type: T.Type) -> [T] where T.RawValue == String {
            guard let text = environment[name], !text.isEmpty else { return Array(T.allCases) }
            return text.split(separator: ",").compactMap { T(rawValue: String($0)) }
        }
        return CrashMatrixRun(
            results: URL(filePath: results), part: part.count == 2 ? (part[0], part[1]) : (1, 1),
            ways: chosen("GODWIT_CRASH_MATRIX_WAYS", CrashWay.self),
            victims: chosen("GODWIT_CRASH_MATRIX_VICTIMS", CrashVictim.self),
            minutes: environment["GODWIT_CRASH_MATRIX_MINUTES"].flatMap { Int($0) } ?? 600)
    }

    /// So many cases of one way, then the next way's, so that a run that is ended early has seen some of all.
    private static let block = 12

    /// Finds out which points each way reaches, then has every victim die at every one.
    func carryOut(on fleet: NetFleet) async throws {
        let stage = CrashStage(fleet)
        let end = ContinuousClock.now + .seconds(60 * minutes)
        let known = try outcomes()
        var left: [CrashWay: ArraySlice<CrashCase>] = [:]
        for way in ways { left[way] = try await cases(way, on: stage).filter { !known.contains($0) }[...] }
        while left.values.contains(where: { !$0.isEmpty }) {
            for way in ways {
                let block = left[way]?.prefix(Self.block) ?? []
                left[way]?.removeFirst(block.count)
                for crash in block {
                    guard ContinuousClock.now < end else { return }
                    try await meet(crash, on: stage)
                }
                if !block.isEmpty { try await stage.clear(way) }
            }
        }
    }

    /// This part's cases of a way.
    private func cases(_ way: CrashWay, on stage: CrashStage) async throws -> [CrashCase] {
        let reached = try await stage.survey(way)
        print("outside: \(way.rawValue) reaches \(reached.count) of \(Failpoint.all.count) failure points")
        #expect(!reached.contains { $0.hasPrefix("agent.qmp.other.") }, "a command that the catalog does not have")
        let all = reached.flatMap { point in
            victims.filter { $0.belongs(to: way) }.map { CrashCase(way: way, point: point, victim: $0) }
        }
        return shuffled(all).enumerated().filter { $0.offset % part.of == part.number - 1 }.map(\.element)
    }

    private func meet(_ crash: CrashCase, on stage: CrashStage) async throws {
        let outcome = await outcome(of: crash, on: stage)
        try append(outcome)
        print("outside: \(crash): \(outcome.end ?? "did not come about") \(outcome.milliseconds) ms \(outcome.flaws)")
        #expect(outcome.flaws.isEmpty, "\(crash): \(outcome.flaws)")
        if !outcome.flaws.isEmpty {
            stage.fleet.tell()
            try await stage.fleet.restore()
        }
    }

    /// The same order each time, in which points and victims come mixed.
    private func shuffled(_ cases: [CrashCase]) -> [CrashCase] {
        cases.map { crash -> (UInt64, CrashCase) in
            let hash = "\(crash)".utf8.reduce(0xCBF2_9CE4_8422_2325) { ($0 ^ UInt64($1)) &* 0x100_0000_01B3 }
            return (hash, crash)
        }.sorted { $0.0 < $1.0 }.map(\.1)
    }

    private func outcome(of crash: CrashCase, on stage: CrashStage) async -> CrashOutcome {
        do {
            return try await stage.run(crash)
        } catch {
            return CrashOutcome(crash: crash, end: "unknown", flaws: ["\(error)"])
        }
    }

    private func outcomes() throws -> Set<CrashCase> {
        guard let data = FileManager.default.contents(atPath: results.path) else { return [] }
        return Set(try data.split(separator: UInt8(ascii: "\n")).map { try JSONDecoder().decode(CrashOutcome.self, from: $0).crash })
    }

    private func append(_ outcome: CrashOutcome) throws {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        let line = try encoder.encode(outcome) + Data("\n".utf8)
        let file = open(results.path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0o644)
        guard file >= 0 else { throw Failure("\(results.path) cannot be written") }
        defer { close(file) }
        let count = line.withUnsafeBytes { write(file, $0.baseAddress, $0.count) }
        guard count == line.count else { throw Failure("\(results.path) cannot be written") }
    }
}

extension CrashStage {
    /// Runs a way undisturbed and returns the failure points that it reaches.
    func survey(_ way: CrashWay) async throws -> [String] {
        let server = try await prepare(way)
        try points.watchAll()
        let migration = try await submit(way, server)
        var isCalledOff = !way.isCancelled
        try await eventually("\(way.rawValue) ends", within: .seconds(150)) {
            let now = try await fleet.migration(migration.id)
            if !isCalledOff { isCalledOff = try await callOff(way, now) }
            return now.state.isFinished
        }
        for host in fleet.hostNames where !fleet.isOn(host) { try await fleet.powerOn(host) }
        try await fleet.online(fleet.hostNames)
        try await eventually("no cleanup is left", within: .seconds(60)) {
            try await fleet.godwit("cleanup-list", "--output", "json").output.contains("migration") == false
        }
        let reached = points.reached()
        try points.clear()
        try await clear(way)
        return reached
    }
}
