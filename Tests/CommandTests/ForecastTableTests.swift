import Client
import Fleet
import Testing

@testable import Output
@testable import godwit

@Suite struct ForecastTableTests {
    private func named(_ name: String) -> Named { Named(id: "id-\(name)", name: name) }

    private func forecast(_ change: (inout ForecastView) -> Void = { _ in }) -> ForecastView {
        var forecast = ForecastView(
            server: named("vm1"), mode: .live, sourceHost: named("host1"),
            candidates: [
                CandidateView(
                    host: named("host2"), vcpusLeft: 12, memoryLeftMB: 2048, inboundMigrations: 0, outboundMigrations: 1, recentFailures: 0)
            ],
            rejected: [RejectionView(host: named("host3"), filter: "vcpus", wanted: "4 vCPUs", found: "2 of 16 left")],
            estimate: EstimateView(
                targetHost: named("host2"), diskBytes: 512 << 20, memoryBytes: 300 << 20, diskMS: 2000, memoryMS: 1500, totalMS: 4200,
                rounds: 3, blackoutMS: 61, converges: true, throttlePercent: 20, downtimeLimitMS: 30, diskRateBytesPerSecond: 268_000_000,
                memoryRateBytesPerSecond: 200_000_000, memoryUsedBytes: 290 << 20, dirtyRateBytesPerSecond: 50_000_000))
        change(&forecast)
        return forecast
    }

    @Test func `tells where it could go, why not elsewhere, and what it would take`() {
        #expect(
            ForecastTables.text(forecast()) == """
                Hosts that could take vm1, best first:
                +-------+------------+----------+----------+
                | Host  | vcpus_left | mem_left | Outbound |
                +-------+------------+----------+----------+
                | host2 | 12         | 2048     | 1        |
                +-------+------------+----------+----------+
                Hosts that could not:
                +-------+--------+---------+--------------+
                | Host  | Filter | Wanted  |    Found     |
                +-------+--------+---------+--------------+
                | host3 | vcpus  | 4 vCPUs | 2 of 16 left |
                +-------+--------+---------+--------------+
                A live migration to host2 would take:
                +----------------+------------------------------+
                |     Field      |            Value             |
                +----------------+------------------------------+
                | total          | 4.2 s                        |
                | converges      | yes                          |
                | blackout       | 61.0 ms                      |
                | disk           | 512 MiB in 2.0 s at 268 MB/s |
                | memory         | 300 MiB in 1.5 s at 200 MB/s |
                | rounds         | 3                            |
                | downtime_limit | 30 ms                        |
                | throttle       | 20%                          |
                | memory_used    | 290 MiB                      |
                | dirty_rate     | 50 MB/s                      |
                +----------------+------------------------------+

                """)
    }

    @Test func `says so when no host will do`() {
        let text = ForecastTables.text(
            forecast {
                $0.candidates = []
                $0.estimate = nil
                $0.notes = ["vm1 is ready; a live migration needs it running."]
            })
        #expect(text.hasPrefix("No host can take vm1.\nHosts that could not:\n"))
        #expect(text.hasSuffix("Note: vm1 is ready; a live migration needs it running.\n"))
    }

    @Test func `a table within a reason stays a table`() {
        let reason = "No host can take vm1:\n  host   filter   wanted    found\n  host2  vcpus    \(String(repeating: "4 ", count: 50))"
        #expect(reason.wrapped(40) == reason)
    }
}
