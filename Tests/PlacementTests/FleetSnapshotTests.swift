import Fleet
import Placement
import Testing

@Suite struct FleetSnapshotTests {
    /// Numbers from a seed, so that a failure can be run again.
    private struct Seeded: RandomNumberGenerator {
        var state: UInt64

        mutating func next() -> UInt64 {
            state &+= 0x9e37_79b9_7f4a_7c15
            var z = state
            z = (z ^ (z >> 30)) &* 0xbf58_476d_1ce4_e5b9
            z = (z ^ (z >> 27)) &* 0x94d0_49bb_1331_11eb
            return z ^ (z >> 31)
        }
    }

    private func loads(_ count: Int, _ generator: inout Seeded) -> [HostLoad] {
        func one(in number: Int) -> Bool { Int.random(in: 0..<number, using: &generator) == 0 }
        return (0..<count).map { number in
            var load = load(
                "h\(number)", vcpus: Int.random(in: 0..<130, using: &generator),
                memory: Int64.random(in: 0..<66, using: &generator) * gib, reserved: one(in: 9) ? ["local": 180 * gib] : [:],
                promised: one(in: 9) ? ["local": 480 * gib] : [:], inbound: Int.random(in: 0..<3, using: &generator),
                outbound: Int.random(in: 0..<3, using: &generator), failures: Int.random(in: 0..<3, using: &generator),
                enabled: !one(in: 9), maintenance: one(in: 9), online: !one(in: 9)
            ) { facts in
                if one(in: 5) { facts.cpuModel = "EPYC" }
                if one(in: 5) { facts.kernel = "6.12" }
                if one(in: 5) { facts.networks = [] }
                if one(in: 5) { facts.machineTypes.removeAll() }
                if one(in: 9) { facts.storages[0].kind = .shared }
            }
            if one(in: 9) { load.host.facts = nil }
            return load
        }
    }

    /// The quick way to one host and the long way that explains every other must never tell two stories.
    @Test(arguments: 0..<40) func `chooses what the survey ranks first, whichever way it looks`(_ seed: Int) {
        var generator = Seeded(state: UInt64(seed))
        let all = [load("source", outbound: seed % 3)] + loads(40, &generator)
        let asked = request(
            mode: Mode.allCases[seed % 3], excluded: ["id-h3": Reason(.targetLost, "lost")],
            companions: [GroupCompanion(group: "g", policy: .apart, name: "vm2", host: "id-h5")], missing: ["id-h7": ["avx"]])
        let survey = Placement.survey(asked, in: FleetSnapshot(all), now: now)
        let expected: PlacementOutcome = survey.candidates.first.map { .chosen($0) } ?? .rejected(survey.rejections)
        #expect(survey.candidates.count + survey.rejections.count == all.count)
        #expect(Placement.choose(asked, in: FleetSnapshot(all), now: now) == expected)
        #expect(Placement.choose(asked, among: all.sorted { $0.host.name < $1.host.name }, now: now) == expected)
    }

    @Test func `hosts that a filter could tell apart are of different kinds, and figures make no kind`() throws {
        let facts = try #require(load("a").host.facts)
        func isOther(_ change: (inout HostFacts) -> Void) -> Bool {
            var other = facts
            change(&other)
            return HostKind(other) != HostKind(facts)
        }
        let telling: [(inout HostFacts) -> Void] = [
            { $0.architecture = "aarch64" }, { $0.cpuModel = "EPYC" }, { $0.microcode += "1" }, { $0.kernel = "6.12" },
            { $0.qemuVersion = "8.0.0" }, { $0.machineTypes.removeLast() }, { $0.guestCPUModels.append("EPYC-v1") },
            { $0.accelerator = .tcg }, { $0.pageSizeBytes *= 2 }, { $0.storages[0].kind = .shared }, { $0.storages[0].name = "other" },
            { $0.storages.removeLast() }, { $0.networks[0].kind = .user }, { $0.networks.removeLast() }, { $0.hasUEFI = false },
            { $0.hasTPM = true },
        ]
        for (number, change) in telling.enumerated() { #expect(isOther(change), "\(number)") }
        #expect(
            !isOther {
                $0.cpus += 1
                $0.memoryBytes += gib
                $0.storages[0].freeBytes -= gib
                $0.storages[0].capacityBytes += gib
                $0.warnings.append("a warning")
            })
    }

    @Test func `knows what it was told of a reservation, and of its end`() {
        var fleet = FleetSnapshot([load("source", vcpus: 4, memory: 8 * gib, promised: ["local": 40 * gib]), load("target")])
        let reservation = Needs(request().description, storages: []).reservation(of: "m1", on: "id-target")
        fleet.hold(reservation, from: "id-source")
        #expect(
            fleet["id-target"]
                == load("target", vcpus: 4, memory: 8 * gib, reserved: ["local": 40 * gib], inbound: 1))
        #expect(fleet["id-source"]?.outboundMigrations == 1)
        fleet.settle(reservation, from: "id-source")
        #expect(
            fleet["id-target"]
                == load("target", vcpus: 4, memory: 8 * gib, reserved: ["local": 0], promised: ["local": 40 * gib]))
        #expect(fleet["id-source"] == load("source", promised: ["local": 0]))
    }

    @Test func `fills hosts one after the other until none is left`() {
        var fleet = FleetSnapshot([load("source")] + (0..<3).map { load("h\($0)", memory: 48 * gib) })
        var hosts: [HostID] = []
        for number in 0..<10 {
            guard case .chosen(let host) = Placement.choose(request(), in: fleet, now: now) else { break }
            hosts.append(host)
            let reservation = Needs(request().description, storages: []).reservation(of: MigrationID("m\(number)"), on: host)
            fleet.hold(reservation, from: "id-source")
            fleet.settle(reservation, from: "id-source")
        }
        #expect(hosts == ["id-h0", "id-h1", "id-h2", "id-h0", "id-h1", "id-h2"])
    }
}
