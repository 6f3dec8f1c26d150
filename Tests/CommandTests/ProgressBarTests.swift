import Client
import Fleet
import Testing

@testable import Output
@testable import godwit

@Suite struct ProgressBarTests {
    private func migration(
        _ state: MigrationState, disk: (Int64, Int64) = (0, 0), memory: (remaining: Int64, total: Int64) = (0, 0), attempt: Int = 1,
        direction: Direction = .forward, awaiting: String? = nil
    ) -> MigrationView {
        MigrationView(
            id: "m1", server: Named(id: "s1", name: "vm1"), mode: .live, state: state, direction: direction, attempt: attempt,
            maxAttempts: 3,
            sourceHost: Named(id: "h1", name: "host1"), targetHost: Named(id: "h2", name: "host2"), awaiting: awaiting,
            progress: ProgressView(
                diskTotalBytes: disk.1, diskDoneBytes: disk.0, memoryTotalBytes: memory.total, memoryRemainingBytes: memory.remaining,
                rateBytesPerSecond: 118_000_000, round: 3, throttlePercent: 20, etaMS: 14_000),
            actor: "t", createdAt: WireTime(Timestamp(milliseconds: 0)))
    }

    @Test func `a line tells state, share, bytes, rate and time to go`() {
        var bar = ProgressBar()
        let line = bar.line(migration(.syncingDisk, disk: (1 << 30, 2 << 30)), columns: 120)
        #expect(line == "vm1  host1 -> host2  syncing-disk  [==============>             ]  50%  1/2 GiB  118 MB/s  ETA 0:14")
    }

    @Test func `memory adds round and throttle`() {
        var bar = ProgressBar()
        let line = bar.plain(migration(.syncingMemory, memory: (remaining: 256 << 20, total: 1 << 30)))
        #expect(line == "vm1  host1 -> host2  syncing-memory  75%  0.8/1 GiB  118 MB/s  ETA 0:14  round 3  throttle 20%")
    }

    @Test func `the bar never goes back within a state, and begins anew with the next`() {
        var bar = ProgressBar()
        #expect(bar.plain(migration(.syncingMemory, memory: (10, 100))).contains("90%"))
        #expect(bar.plain(migration(.syncingMemory, memory: (50, 100))).contains("90%"))
        #expect(bar.plain(migration(.syncingMemory, memory: (50, 100), attempt: 2)).contains("50%"))
    }

    @Test func `a state that carries nothing shows no numbers`() {
        var bar = ProgressBar()
        #expect(bar.plain(migration(.scheduling)) == "vm1  host1 -> host2  scheduling")
        #expect(bar.plain(migration(.switching, awaiting: "the agent of host2")).hasSuffix("switching  awaiting the agent of host2"))
    }

    @Test func `rollback and a second attempt are told`() {
        var bar = ProgressBar()
        #expect(bar.plain(migration(.scheduling, attempt: 2, direction: .rollback)).hasSuffix("scheduling (rollback)  attempt 2 of 3"))
    }

    @Test(arguments: [10, 20, 40, 60, 80, 100, 200]) func `a line fits its terminal`(columns: Int) {
        var bar = ProgressBar()
        let line = bar.line(migration(.syncingMemory, memory: (10, 100), attempt: 2), columns: columns)
        #expect(line.displayWidth < columns)
    }

    @Test func `the bar is full only at the end`() {
        #expect(ProgressBar.bar(0, width: 8) == "[>     ]")
        #expect(ProgressBar.bar(0.99, width: 8) == "[=====>]")
        #expect(ProgressBar.bar(1, width: 8) == "[======]")
        #expect(ProgressBar.bar(7, width: 8) == "[======]")
    }

    @Test func `the last line tells where it is and how long it stood still`() {
        var ended = migration(.ready)
        ended.totalMS = 4200
        ended.blackout = BlackoutView(lastPassUS: 1, diskDrainUS: 1, deviceStateUS: 1, handoverUS: 1, resumeUS: 1, totalUS: 61_400)
        #expect(ProgressBar.end(ended) == "vm1: ready on host2 after 4.2 s, blackout 61.4 ms")
        #expect(ProgressBar.end(migration(.failed)) == "vm1: failed")
    }
}
