import Testing

@testable import Output
@testable import godwit

@Suite struct AmountTests {
    @Test(
        arguments: [
            (0, "0 B"), (1023, "1023 B"), (1024, "1 KiB"), (1536, "1.5 KiB"), (10 << 20, "10 MiB"), (512 << 20, "512 MiB"),
            (3 << 40, "3 TiB"),
        ] as [(Int64, String)])
    func `bytes read in powers of 1024`(count: Int64, text: String) {
        #expect(Amounts.bytes(count) == text)
    }

    @Test func `a part is told in the unit of its whole`() {
        #expect(Amounts.bytes(200 << 20, of: 2 << 30) == "0.2/2 GiB")
        #expect(Amounts.bytes(0, of: 512 << 20) == "0/512 MiB")
    }

    @Test(arguments: [(10 << 30, "10G"), (1536 << 20, "1536M"), (1000, "1000"), (512, "512"), (1 << 50, "1024T")] as [(Int64, String)])
    func `a disk's size reads as it can be given`(count: Int64, text: String) {
        #expect(Amounts.size(count) == text)
        #expect(ByteSize.bytes(text) == count)
    }

    @Test func `a rate is in megabytes of a million bytes`() {
        #expect(Amounts.rate(118_400_000) == "118 MB/s")
        #expect(Amounts.rate(1_250_000) == "1.2 MB/s")
        #expect(Amounts.rate(-1) == "0.0 MB/s")
    }

    @Test(
        arguments: [
            (nil, "--:--"), (-5, "--:--"), (0, "0:00"), (1, "0:01"), (14_000, "0:14"), (59_001, "1:00"), (185_000, "3:05"),
            (3_723_000, "1:02:03"),
        ] as [(Int64?, String)])
    func `time to go is rounded up, and unknown where nobody knows`(milliseconds: Int64?, text: String) {
        #expect(Amounts.remaining(milliseconds) == text)
    }

    @Test(
        arguments: [
            (850, "850 µs"), (61_400, "61.4 ms"), (150_000, "150 ms"), (4_200_000, "4.2 s"), (185_000_000, "3 min 5 s"),
        ] as [(Int64, String)])
    func `a span reads in the unit that fits`(microseconds: Int64, text: String) {
        #expect(Amounts.span(microseconds: microseconds) == text)
    }

    @Test(
        arguments: [
            ("10G", 10 << 30), ("10GiB", 10 << 30), ("512m", 512 << 20), ("1.5T", 3 << 39), ("4096", 4096), ("1K", 1024),
        ] as [(String, Int64)])
    func `a size is read`(text: String, bytes: Int64) {
        #expect(ByteSize.bytes(text) == bytes)
    }

    @Test(arguments: ["", "G", "iB", "10iB", "0", "0G", "-1G", "ten", "10GB", "1e3", "1.0001", "9999999999P", "0x10", "1.2.3G"])
    func `what is no size is none`(text: String) {
        #expect(ByteSize.bytes(text) == nil)
    }

    @Test(
        arguments: [("90", 90_000), ("90s", 90_000), ("5m", 300_000), ("2h", 7_200_000), ("1d", 86_400_000), ("250ms", 250)]
            as [(String, Int64)])
    func `a span of time is read`(text: String, milliseconds: Int64) {
        #expect(TimeSpan.duration(text) == .milliseconds(milliseconds))
    }

    @Test(arguments: ["", "s", "-1", "1x", "1.5h", "99999999999999999d"]) func `what is no span of time is none`(text: String) {
        #expect(TimeSpan.duration(text) == nil)
    }
}
