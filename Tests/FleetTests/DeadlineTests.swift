import Fleet
import Testing

@Suite struct DeadlineTests {
    private static let gigabyte: Int64 = 1_000_000_000

    @Test func `what was asked for stands, whatever there is to move`() {
        #expect(CompletionDeadline.seconds(for: MigrationOptions(timeoutS: 7), bytes: 1 << 50) == 7)
    }

    @Test(
        arguments: [
            (nil, 0, 900), (nil, 25 * gigabyte, 900 + 3000), (100, 100 * gigabyte, 900 + 3000), (1, gigabyte, 900 + 3000), (nil, -1, 900),
        ] as [(Int64?, Int64, Int64)])
    func `else it grows with the bytes and with the slowness asked for`(_ bandwidth: Int64?, _ bytes: Int64, _ seconds: Int64) {
        #expect(CompletionDeadline.seconds(for: MigrationOptions(maxBandwidthMB: bandwidth), bytes: bytes) == seconds)
    }

    @Test func `no size overflows, and none is without a deadline`() {
        for bandwidth in [nil, 1, 1_000_000] as [Int64?] {
            var before: Int64 = 0
            for bytes in [0, 1, 1 << 20, 1 << 40, 1 << 60, Int64.max] {
                let seconds = CompletionDeadline.seconds(for: MigrationOptions(maxBandwidthMB: bandwidth), bytes: bytes)
                #expect(seconds >= max(before, CompletionDeadline.floorS))
                before = seconds
            }
        }
    }

    @Test func `what --max-downtime-ms means depends on quickly-finish`() {
        var plain = MigrationOptions()
        plain.limitDowntime(toMS: 100)
        #expect(plain.downtimeLimitMS == 100 && plain.maxDowntimeMS == 5000)
        var quick = MigrationOptions(quicklyFinish: true)
        quick.limitDowntime(toMS: 2000)
        #expect(quick.downtimeLimitMS == 300 && quick.maxDowntimeMS == 2000)
        quick.limitDowntime(toMS: 100)
        #expect(quick.downtimeLimitMS == 100 && quick.maxDowntimeMS == 100)
    }

    @Test func `parameters say what they change and what is wrong with them`() {
        var options = MigrationOptions(maxBandwidthMB: 10)
        #expect(MigrationParameters(maxBandwidthMB: 10, downtimeLimitMS: 300).apply(to: &options) == [])
        #expect(MigrationParameters(maxBandwidthMB: 0, downtimeLimitMS: 9000).apply(to: &options).count == 2)
        #expect(options.maxBandwidthMB == nil && options.downtimeLimitMS == 9000 && options.maxDowntimeMS == 9000)
        #expect(MigrationParameters(maxBandwidthMB: 10).flaw(for: .live) == nil)
        #expect(MigrationParameters(downtimeLimitMS: 10).flaw(for: .cold)?.contains("downtime_limit_ms") == true)
        #expect(MigrationParameters(maxBandwidthMB: 10).flaw(for: .rescue) != nil)
        #expect(MigrationParameters().flaw(for: .live) != nil)
        #expect(MigrationParameters(confirmHostDown: true).flaw(for: .live) == nil)
        #expect(MigrationParameters(confirmHostDown: true).flaw(for: .cold)?.contains("confirm_host_down") == true)
    }
}
