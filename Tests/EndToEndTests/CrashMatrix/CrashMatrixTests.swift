import Failpoints
import Foundation
import Testing

extension EndToEnd {
    /// Each of Godwit's processes, and each QEMU, dies at failure points of a migration: a sample, and by `script/test crash-matrix` all.
    @Suite(.serialized, .netFleet(hosts: 3, leaseMS: 4_000))
    struct CrashMatrixTests {
        /// Deaths at the places where most is at stake.
        static let sample: [CrashCase] = [
            CrashCase(way: .live, point: "agent.record.handed-over.after", victim: .sourceAgent),
            CrashCase(way: .live, point: "agent.record.owned.before", victim: .targetAgent),
            CrashCase(way: .live, point: "agent.qmp.cont.before", victim: .worker),
            CrashCase(way: .live, point: "agent.qmp.migrate-continue.before", victim: .sourceAgent),
            CrashCase(way: .live, point: "worker.live.switch.performed", victim: .worker),
            CrashCase(way: .live, point: "worker.live.send-memory.performed", victim: .targetQEMU),
            CrashCase(way: .liveCancelled, point: "agent.order.abort.before", victim: .sourceAgent),
            CrashCase(way: .cold, point: "worker.cold.hand-over.performed", victim: .worker),
            CrashCase(way: .cold, point: "agent.record.owned.after", victim: .targetAgent),
        ]

        @Test func `whatever dies, nothing is lost`() async throws {
            try await NetFleet.test { fleet in
                if let run = CrashMatrixRun.wanted { return try await run.carryOut(on: fleet) }
                let stage = CrashStage(fleet)
                for crash in Self.sample {
                    let outcome = try await stage.run(crash)
                    print("outside: \(crash): \(outcome.end ?? "did not come about") after \(outcome.milliseconds) ms")
                    #expect(outcome.end != nil, "\(crash) did not come about")
                    #expect(outcome.flaws.isEmpty, "\(crash): \(outcome.flaws)")
                    if !outcome.flaws.isEmpty { fleet.tell() }
                }
            }
        }
    }
}
