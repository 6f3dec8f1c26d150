import Fleet
import Placement
import Testing

@Suite struct PlacementFailureTests {
    private func failure(_ loads: [HostLoad], _ asked: PlacementRequest = request()) throws -> PlacementFailure {
        PlacementFailure(server: "vm1", rejections: try rejections(asked, among: loads))
    }

    @Test func `tells one line a host, in columns`() throws {
        let failure = try failure([load("source"), load("host12", vcpus: 126), load("host2", enabled: false)])
        #expect(
            failure.message == """
                No host can take vm1:
                  host    filter      wanted        found
                  host12  vcpus       4 vCPUs       2 of 128 left
                  host2   enabled     enabled       disabled
                  source  not-source  another host  the server is there now
                """)
        #expect(failure.reason.code == .noHost)
        #expect(failure.rows.first == ["host12", "vcpus", "4 vCPUs", "2 of 128 left"])
    }

    @Test func `keeps the reason of the attempt before`() throws {
        let failure = try failure([load("source")])
        let reason = failure.reason(after: Reason(.targetLost, "QEMU on host2 died."))
        #expect(reason.code == .targetLost)
        #expect(
            reason.message == """
                QEMU on host2 died.
                No host can take vm1:
                  host    filter      wanted        found
                  source  not-source  another host  the server is there now
                """)
    }

    @Test func `cuts a cell that would make the table too wide`() throws {
        let tried = request(excluded: ["id-target": Reason(.targetLost, String(repeating: "x", count: 200) + "\nmore")])
        let failure = try failure([load("source"), load("target")], tried)
        let cell = failure.rows[0][3]
        #expect(cell.count == PlacementFailure.cellAtMost && cell.hasSuffix("x…"))
    }

    @Test func `counts the hosts that do not fit on a screen`() throws {
        let loads = (0..<100).map { load("h\($0)", vcpus: $0 < 70 ? 128 : 0, enabled: $0 >= 10) { $0.machineTypes = [] } }
        let lines = try failure([load("source")] + loads).lines
        #expect(lines.count == PlacementFailure.linesAtMost + 2)
        #expect(lines.last == "and 71 more: 34 by vcpus, 30 by machine-type, 6 by enabled, 1 by not-source")
    }

    @Test func `says that there is no host`() throws {
        #expect(try failure([]).message == "No host can take vm1: there is no host.")
    }

    @Test func `counts a base image in where it is known to be missing, and rejects nobody for that alone`() {
        let base = GuestDescription.BaseImage(name: "b.qcow2", format: .qcow2, sizeBytes: 100 * gib)
        var asked = request()
        asked.description.disks[0].bases = [base]
        func host(_ name: String, _ bases: [String]?, free: Int64 = 200 * gib) -> HostLoad {
            load(name) {
                $0.storages[0].bases = bases
                $0.storages[0].freeBytes = free
            }
        }
        let hosts = [
            load("source"), host("has", ["b.qcow2"], free: 50 * gib), host("lacks", []), host("silent", nil),
            host("full", ["a.qcow2"], free: 139 * gib),
        ]
        let survey = Placement.survey(asked, in: FleetSnapshot(hosts), now: now)
        #expect(Set(survey.candidates) == ["id-has", "id-lacks", "id-silent"])
        let full = survey.rejections.first { $0.name == "full" }
        #expect(full?.filter == .storage && full?.wanted.hasPrefix("140") == true, "\(String(describing: full))")
        let needs = Needs(asked.description, storages: [])
        for (name, gibs) in [("has", Int64(40)), ("lacks", 140), ("silent", 40)] {
            let storages = hosts.first { $0.host.name == name }?.host.facts?.storages ?? []
            #expect(needs.reservation(of: "m1", on: "h", storages: storages).storageBytes == ["local": gibs * gib])
        }
    }

    @Test func `reserves what was looked for`() {
        let needs = Needs(request().description, storages: [])
        #expect(needs.localBytes == ["local": 40 * gib] && needs.hasLocalDisks)
        #expect(
            needs.reservation(of: "m1", on: "h1")
                == Reservation(
                    migration: "m1", host: "h1", vcpus: 4, memoryBytes: 8 * gib, storageBytes: ["local": 40 * gib]))
    }
}
