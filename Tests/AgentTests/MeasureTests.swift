import AgentAPI
import Attempts
import Fleet
import Foundation
import Testing

@testable import Agent
@testable import Hypervisor
@testable import Measuring

/// What is measured before a migration, on real QEMU and real sockets.
@Suite(.serialized) struct MeasureTests {
    private func defined(_ server: ServerID, on host: TestHost, _ description: GuestDescription) async throws {
        _ = try await host.orders.define(server, DefineOrder(epoch: Epoch(1), description: description))
    }

    private func running(_ server: ServerID, on host: TestHost, dirty: Int, set: Int) async throws {
        let parameters = "godwit.dirty_mb_s=\(dirty) godwit.dirty_set_mb=\(set) godwit.still_mb=20 godwit.verify_mb_s=1"
        try await defined(server, on: host, TestGuest.description(server, memoryMB: 192, parameters: parameters))
        let report = try await host.orders.start(server, StartOrder(epoch: Epoch(1)))
        try await eventually("the guest dirties its memory") {
            (TestGuest.tick(report.consoleLog)?["dirtied_mb"]).flatMap(Int.init).map { $0 >= set * 2 || dirty == 0 } ?? false
        }
    }

    @Test func `a guest that writes is told from one that rests, and a small set of pages from many`() async throws {
        try await withHosts("host1") { hosts in
            try await running("busy", on: hosts[0], dirty: 40, set: 16)
            let busy = try await hosts[0].orders.measure("busy", MeasureOrder())
            #expect(busy.isRunning && busy.warnings.isEmpty, "\(busy.warnings)")
            #expect(
                busy.dirtied.count == 4 && busy.dirtied.map(\.milliseconds) == busy.dirtied.map(\.milliseconds).sorted(), "\(busy.dirtied)")
            let mib = busy.dirtied.map { Double($0.bytes) / 1_048_576 }
            // Forty MiB a second round a set of sixteen: in a tenth of a second a part of it, in a second and in two all and no more.
            #expect((1.0...12.0).contains(mib[0]) && (11.0...24.0).contains(mib[2]) && (11.0...40.0).contains(mib[3]), "\(mib)")
            // The kernel, the sets, and not the memory that nobody touched.
            let used = try #require(busy.memoryUsedBytes)
            #expect((36 << 20...160 << 20).contains(used), "\(used >> 20) MiB")
            #expect(busy.disks.map(\.name) == ["disk0"] && busy.disks[0].allocatedBytes > 0 && busy.disks[0].allocatedBytes < 64 << 20)
            // The guest is as it was.
            #expect(try await hosts[0].orders.guest("busy").summary.status == .running)

            try await running("calm", on: hosts[0], dirty: 0, set: 16)
            let calm = try await hosts[0].orders.measure("calm", MeasureOrder())
            #expect(calm.dirtied.allSatisfy { $0.bytes < 12 << 20 }, "\(calm.dirtied)")
        }
    }

    @Test func `of what QEMU tells and what is seen from outside, the larger counts`() {
        func window(_ ms: Int64, _ bytes: Int64) -> DirtyWindow { DirtyWindow(milliseconds: ms, bytes: bytes) }
        let seen = [window(110, 1), window(310, 3), window(1020, 10), window(2030, 12)]
        #expect(DirtyRateProbe.merged(seen, [window(1000, 0), window(2000, 20)]) == [seen[0], seen[1], seen[2], window(2030, 20)])
        #expect(DirtyRateProbe.merged(seen, []) == seen)
    }

    @Test func `two that measure at once both get an answer`() async throws {
        try await withHosts("host1") { hosts in
            try await running("vm1", on: hosts[0], dirty: 20, set: 16)
            async let first = hosts[0].orders.measure("vm1", MeasureOrder())
            async let second = hosts[0].orders.measure("vm1", MeasureOrder())
            for report in [try await first, try await second] { #expect(report.dirtied.count >= 2, "\(report)") }
        }
    }

    @Test func `of a guest that is off only its disks are told`() async throws {
        try await withHosts("host1") { hosts in
            try await defined("vm1", on: hosts[0], TestGuest.description("vm1"))
            let report = try await hosts[0].orders.measure("vm1", MeasureOrder())
            #expect(!report.isRunning && report.dirtied.isEmpty && report.memoryUsedBytes == nil && report.disks.count == 1)
            await #expect(throws: AgentProblem.self) { try await hosts[0].orders.measure("none", MeasureOrder()) }
            await #expect(throws: AgentProblem.self) { try await hosts[0].orders.cpuFeatures("vm1") }
        }
    }

    @Test func `a guest's CPU has features, its own host offers them all, and none that nobody has`() async throws {
        try await withHosts("host1") { hosts in
            try await running("vm1", on: hosts[0], dirty: 0, set: 4)
            let features = try await hosts[0].orders.cpuFeatures("vm1").features
            #expect(features.contains("sse2") && features.contains("lm") && !features.contains("avx2"), "\(features)")
            #expect(try await hosts[0].orders.checkCPU(CPUCheckOrder(features: features)).missing == [])
            let asked = try await hosts[0].orders.checkCPU(CPUCheckOrder(features: features + ["avx512f", "sse4.1", "sse4_2"]))
            #expect(asked.missing == ["avx512f"])
        }
    }

    @Test(arguments: [nil, "disk0"] as [String?])
    func `a rehearsal carries bytes from one host to the other and leaves nothing behind`(_ disk: String?) async throws {
        try await withHosts("host1", "host2") { hosts in
            var description = TestGuest.description("vm1")
            description.disks[0].format = .raw
            try await defined("vm1", on: hosts[0], description)
            let path = "\(hosts[0].folder)/disks/vm1/disk0.raw"
            let handle = try FileHandle(forWritingTo: URL(fileURLWithPath: path))
            try handle.write(contentsOf: Data(repeating: 7, count: 24 << 20))
            try handle.close()
            let before = hosts[1].files(under: "\(hosts[1].folder)/disks")
            let place = try await hosts[1].orders.awaitRehearsal(RehearsalOrder(id: "r1", storage: disk.map { _ in "local" }))
            let report = try await hosts[0].orders.rehearse(
                "vm1", RehearseOrder(id: "r1", place: place, disk: disk, bytesAtMost: 16 << 20, msAtMost: 20_000))
            #expect(report.bytes >= 16 << 20 && report.bytes <= 17 << 20, "\(report)")
            #expect(try #require(report.rate) > 1_000_000)
            #expect(hosts[1].files(under: "\(hosts[1].folder)/disks") == before)
            // It was for one connection.
            await #expect(throws: AgentProblem.self) {
                try await hosts[0].orders.rehearse("vm1", RehearseOrder(id: "r1", place: place, disk: disk))
            }
        }
    }

    @Test func `a rehearsal ends in time, and who does not name it is turned away`() async throws {
        try await withHosts("host1", "host2") { hosts in
            try await defined("vm1", on: hosts[0], TestGuest.description("vm1"))
            let place = try await hosts[1].orders.awaitRehearsal(RehearsalOrder(id: "r2"))
            await #expect(throws: AgentProblem.self) {
                try await hosts[0].orders.rehearse("vm1", RehearseOrder(id: "another", place: place))
            }
            let begun = ContinuousClock.now
            let report = try await hosts[0].orders.rehearse(
                "vm1", RehearseOrder(id: "r2", place: place, bytesAtMost: 256 << 20, msAtMost: 1))
            #expect(report.bytes < 256 << 20)
            #expect(ContinuousClock.now - begun < .seconds(10))
            await #expect(throws: AgentProblem.self) {
                try await hosts[1].orders.awaitRehearsal(RehearsalOrder(id: "r3", storage: "nosuch"))
            }
            await #expect(throws: AgentProblem.self) { try await hosts[1].orders.awaitRehearsal(RehearsalOrder(id: "a b")) }
            await #expect(throws: AgentProblem.self) {
                try await hosts[0].orders.rehearse("vm1", RehearseOrder(id: "r4", place: place, disk: "nosuch"))
            }
        }
    }

    @Test func `an agent may give none of these orders to another`() async throws {
        try await withHosts("host1") { hosts in
            try await defined("vm1", on: hosts[0], TestGuest.description("vm1"))
            let (pool, agent) = try hosts[0].client(as: "agent/host2")
            for order in [
                { _ = try await agent.measure("vm1", MeasureOrder()) }, { _ = try await agent.awaitRehearsal(RehearsalOrder(id: "r")) },
                { _ = try await agent.checkCPU(CPUCheckOrder(features: [])) },
                {
                    _ = try await agent.rehearse(
                        "vm1", RehearseOrder(id: "r", place: RehearsalPlace(address: "127.0.0.1", port: 1)))
                },
            ] as [() async throws -> Void] {
                do {
                    try await order()
                    Issue.record("obeyed")
                } catch let problem as AgentProblem {
                    #expect(problem.kind == .forbidden)
                }
            }
            try await pool.shutdown()
        }
    }
}
