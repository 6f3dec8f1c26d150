import Fleet
import Placement
import Testing

@Suite struct PlacementRankingTests {
    private func chosen(_ loads: [HostLoad], _ request: PlacementRequest = request()) -> HostID? {
        guard case .chosen(let host) = Placement.choose(request, among: [load("source")] + loads, now: now) else { return nil }
        return host
    }

    @Test func `prefers the host that stays freest`() {
        #expect(chosen([load("a", memory: 40 * gib), load("b", memory: 10 * gib), load("c", memory: 30 * gib)]) == "id-b")
        // The scarcest resource counts: a has memory in plenty and hardly a vCPU.
        #expect(chosen([load("a", vcpus: 120), load("b", memory: 30 * gib)]) == "id-b")
    }

    @Test func `prefers the host with fewer migrations under way among hosts about equally free`() {
        #expect(chosen([load("a", memory: 2 * gib, inbound: 1), load("b", memory: 3 * gib, inbound: 0)]) == "id-b")
        #expect(chosen([load("a", memory: 1 * gib, inbound: 1), load("b", memory: 50 * gib, inbound: 0)]) == "id-a")
    }

    @Test func `counts migrations in and out alike`() {
        #expect(chosen([load("a", inbound: 1), load("b", outbound: 2), load("c", inbound: 1, outbound: 1)]) == "id-a")
        #expect(chosen([load("a", outbound: 2), load("b", inbound: 1)]) == "id-b")
    }

    @Test func `takes a failure lately for a twentieth less of a host`() {
        #expect(chosen([load("a", failures: 1), load("b")]) == "id-b")
        #expect(chosen([load("a", failures: 3), load("b", memory: 20 * gib)]) == "id-a")
        #expect(chosen([load("a", failures: 10), load("b", memory: 20 * gib)]) == "id-b")
    }

    @Test func `breaks ties by name`() {
        #expect(chosen([load("c"), load("a"), load("b")]) == "id-a")
    }

    @Test func `passes over the best host when it fails a costly filter`() {
        #expect(chosen([load("a") { $0.machineTypes = [] }, load("b", memory: 30 * gib)]) == "id-b")
        #expect(chosen([load("b", memory: 30 * gib), load("a") { $0.machineTypes = [] }]) == "id-b")
    }

    @Test func `a survey names every host once`() {
        let loads = [load("source"), load("a", memory: 30 * gib), load("b"), load("c", enabled: false)]
        let survey = Placement.survey(request(), in: FleetSnapshot(loads), now: now)
        #expect(survey.candidates == ["id-b", "id-a"])
        #expect(survey.rejections.map(\.host) == ["id-c", "id-source"])
    }

    @Test func `ten thousand hosts are looked at in a moment, whether or not one is fit`() throws {
        let loads = [load("source")] + (0..<10_000).map { load("h\($0)", vcpus: $0 % 100, memory: Int64($0 % 50) * gib) }
        let tooLarge = request { $0.memoryBytes = 65 * gib }
        let took = try ContinuousClock().measure {
            guard case .chosen = Placement.choose(request(), among: loads, now: now) else {
                Issue.record("nothing chosen")
                return
            }
            let all = try rejections(tooLarge, among: loads)
            #expect(all.count == loads.count)
        }
        // A debug build on a busy machine; anything that grows with the square of the hosts takes minutes.
        #expect(took < .seconds(2), "\(took)")
    }
}
