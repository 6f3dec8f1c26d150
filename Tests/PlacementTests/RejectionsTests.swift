import Fleet
import Placement
import Testing

@Suite struct RejectionsTests {
    @Test func `a row tells of its own host, however the rows are ordered`() throws {
        let loads = [load("c", vcpus: 126), load("source"), load("b", memory: 60 * gib), load("a", enabled: false)]
        let all = try rejections(among: loads)
        #expect(all.map(\.name) == ["c", "source", "b", "a"])
        let ordered = all.byName()
        #expect(ordered.map(\.name) == ["a", "b", "c", "source"])
        #expect(ordered.map(\.found) == ["disabled", "4 GiB of 64 GiB left", "2 of 128 left", "the server is there now"])
        #expect(ordered.map(\.host) == ["id-a", "id-b", "id-c", "id-source"])
        #expect(Array(ordered.filters) == [.enabled, .memory, .vcpus, .notSource])
        #expect(ordered.only { $0 == .vcpus || $0 == .enabled }.map(\.name) == ["a", "c"])
    }

    @Test func `a source that is not among the hosts leaves every row in its place`() throws {
        let all = try rejections(among: [load("b", enabled: false), load("a", enabled: false)])
        #expect(all.byName().map(\.name) == ["a", "b"])
    }

    @Test func `tells of the hosts as they were when they were looked at`() throws {
        var fleet = FleetSnapshot([load("source"), load("target", memory: 57 * gib)])
        guard case .rejected(let before) = Placement.choose(request(), in: fleet, now: now) else {
            Issue.record("chosen")
            return
        }
        fleet.hold(
            Needs(request().description, storages: []).reservation(of: "m1", on: "id-target"), from: "id-source")
        guard case .rejected(let after) = Placement.choose(request(), in: fleet, now: now) else {
            Issue.record("chosen")
            return
        }
        #expect(before.last?.found == "7 GiB of 64 GiB left" && after.last?.found == "0 B of 64 GiB left")
        #expect(before != after && Array(before.filters) == Array(after.filters))
    }
}
