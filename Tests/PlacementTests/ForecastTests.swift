import Fleet
import Testing

@testable import Placement

private let mib: Int64 = 1 << 20

/// A guest of 1 GiB with half of it used, and a link of 100 MiB/s.
private func input(
    mode: Mode = .live, dirtied: [DirtyWindow] = [], disk: Int64 = 0, rate: Int64 = 100 * mib, _ options: MigrationOptions = .init()
) -> Forecast.Input {
    Forecast.Input(
        mode: mode, options: options, diskBytes: disk, memoryBytes: 1024 * mib, memoryUsedBytes: 512 * mib, dirtied: dirtied,
        memoryRate: rate, diskRate: 200 * mib, overheadMS: 500, switchMS: 40, largestBytes: 10_240 * mib)
}

/// A guest that writes each second so many MiB of pages that it did not write before.
private func steady(_ mibPerSecond: Int64) -> [DirtyWindow] {
    [100, 300, 1000, 2000].map { DirtyWindow(milliseconds: $0, bytes: mibPerSecond * mib * $0 / 1000) }
}

/// A guest that writes round and round in a set of pages.
private func cyclic(_ mibPerSecond: Int64, set: Int64) -> [DirtyWindow] {
    [100, 300, 1000, 2000].map { DirtyWindow(milliseconds: $0, bytes: min(set * mib, mibPerSecond * mib * $0 / 1000)) }
}

@Suite struct ForecastTests {
    @Test func `an idle guest is sent once`() {
        let forecast = Forecast(input())
        #expect(forecast.converges && forecast.rounds == 2)
        #expect(forecast.memoryBytes == 512 * mib)
        // 5.12 s of data and the look at half a GiB of zeroes.
        #expect((5100...5500).contains(forecast.memoryMS))
        #expect(forecast.blackoutMS == 40 && forecast.throttlePercent == 0 && forecast.downtimeLimitMS == 30)
        #expect(forecast.totalMS == 500 + forecast.memoryMS + 40)
    }

    @Test func `disks come on top, and at the bandwidth asked for`() {
        #expect(Forecast(input(disk: 1000 * mib)).diskMS == 5000)
        let slow = Forecast(input(disk: 1000 * mib, MigrationOptions(maxBandwidthMB: 50)))
        #expect((20_900...21_000).contains(slow.diskMS))
        // Memory shares the budget with the mirrors, and does not make use of all of it.
        #expect(slow.memoryRate == 46_060_000 && slow.diskRate == 50_000_000)
        #expect(Forecast(input(MigrationOptions(maxBandwidthMB: 50))).memoryRate == 47_000_000)
    }

    @Test func `a guest that dirties half of what the link takes needs rounds that halve`() {
        let forecast = Forecast(input(dirtied: steady(50)))
        #expect(forecast.converges)
        // 512 MiB, then 256 + …: twice as much in all.
        #expect((1000 * mib...1100 * mib).contains(forecast.memoryBytes))
        #expect((7...11).contains(forecast.rounds))
        #expect(forecast.blackoutMS <= 40 + 30)
    }

    @Test func `a guest that dirties faster than the link takes converges only when it is slowed down`() {
        let fast = steady(150)
        let slowed = Forecast(input(dirtied: fast))
        #expect(slowed.converges && slowed.throttlePercent >= 20)
        let free = Forecast(input(dirtied: fast, MigrationOptions(autoConverge: false)))
        #expect(!free.converges && free.throttlePercent == 0)
        // Given up by the policy, after half a minute without any means left.
        #expect((30_000...200_000).contains(free.totalMS))
    }

    @Test func `a guest that writes the same pages again is judged by these and not by its rate`() {
        // 400 MiB/s in 20 MiB: a last pass of 200 ms, which the limit allows once it was raised.
        let forecast = Forecast(input(dirtied: cyclic(400, set: 20), MigrationOptions(autoConverge: false)))
        #expect(forecast.converges && forecast.throttlePercent == 0)
        #expect(forecast.downtimeLimitMS == 240)
        #expect((200 + 30...200 + 50).contains(forecast.blackoutMS))
        // 100 MiB would take a second.
        #expect(!Forecast(input(dirtied: cyclic(400, set: 100), MigrationOptions(autoConverge: false))).converges)
    }

    @Test func `quickly-finish ends what would not end, within its ceiling`() {
        let stubborn = cyclic(400, set: 100)
        let ended = Forecast(input(dirtied: stubborn, MigrationOptions(quicklyFinish: true, autoConverge: false)))
        #expect(ended.converges && (1000...1100).contains(ended.blackoutMS))
        let capped = Forecast(
            input(dirtied: stubborn, MigrationOptions(quicklyFinish: true, maxDowntimeMS: 500, autoConverge: false)))
        #expect(!capped.converges)
    }

    @Test func `post-copy ends what would not end with a short blackout`() {
        let forecast = Forecast(input(dirtied: cyclic(400, set: 100), MigrationOptions(autoConverge: false, postCopy: true)))
        #expect(forecast.converges && forecast.blackoutMS == 40)
    }

    @Test func `a deadline asked for is what it must converge within`() {
        #expect(!Forecast(input(MigrationOptions(timeoutS: 4))).converges)
        #expect(Forecast(input(MigrationOptions(timeoutS: 7))).converges)
    }

    @Test func `a server that is off has only disks to move, and a rescue nothing`() {
        let cold = Forecast(input(mode: .cold, disk: 400 * mib))
        #expect(cold.converges && cold.memoryBytes == 0 && cold.rounds == 0 && cold.blackoutMS == 0)
        #expect(cold.diskMS == 2000 && cold.totalMS == 2500)
        #expect(Forecast(input(mode: .rescue, disk: 400 * mib)).diskBytes == 0)
    }

    @Test func `a rate lies between what was rehearsed and what earlier migrations reached`() {
        #expect(Forecast.rate(rehearsed: 50, seen: 200) == 50 && Forecast.rate(rehearsed: 200, seen: 50) == 50)
        #expect(Forecast.rate(rehearsed: 70, seen: nil) == 70 && Forecast.rate(rehearsed: nil, seen: 70) == 70)
        #expect(Forecast.rate(rehearsed: nil, seen: nil) == nil)
    }

    @Test func `the curve runs through its points, on beyond them, and never above all memory`() {
        let curve = DirtyCurve(
            [
                DirtyWindow(milliseconds: 1000, bytes: 80), DirtyWindow(milliseconds: 100, bytes: 50),
                DirtyWindow(milliseconds: 2000, bytes: 75),
            ],
            memoryBytes: 85)
        #expect(curve.bytes(after: 0) == 0 && curve.bytes(after: 50) == 25 && curve.bytes(after: 100) == 50)
        #expect(curve.bytes(after: 550) == 65)
        // A sample that is lower than one before it is noise.
        #expect(curve.bytes(after: 3000) == 80)
        #expect(DirtyCurve([DirtyWindow(milliseconds: 10, bytes: 50)], memoryBytes: 85).bytes(after: 1000) == 85)
        #expect(DirtyCurve([], memoryBytes: 85).bytes(after: 1000) == 0)
    }

    /// More bandwidth never makes it slower, nor does a calmer guest.
    @Test(arguments: [10, 60, 90, 150, 400] as [Int64]) func `is monotone in rate and in dirtying`(_ dirty: Int64) {
        var last = Int64.max / 2
        for rate in [50, 100, 200, 400, 800] as [Int64] {
            let total = Forecast(input(dirtied: cyclic(dirty, set: 64), rate: rate * mib)).totalMS
            #expect(total <= last + 1000)
            last = total
        }
        #expect(
            Forecast(input(dirtied: cyclic(dirty, set: 64))).totalMS + 1000
                >= Forecast(input(dirtied: cyclic(dirty / 2, set: 64))).totalMS)
    }
}
